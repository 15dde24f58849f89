# CUDA: whether its compiler is used, what compiles a kernel, and what host code in C needs to call CUDA's runtime.
#
# After include: RECTO_CUDA_FOUND says whether CUDA is part of this build; if so, recto_cuda_objects() compiles kernels, and the
# interface library recto_cuda_host gives C files the runtime's headers and programs its archive. Nothing here calls
# find_package(CUDAToolkit): it insists on files that the packages of scripts/cuda_toolkit do not have.

set(RECTO_CUDA AUTO CACHE STRING "compute on GPUs too: AUTO (where CUDA's compiler is found), ON (an error where it is not) or OFF")
set_property(CACHE RECTO_CUDA PROPERTY STRINGS AUTO ON OFF)
# sm_80's cubin also serves 86, 87 and 89; the PTX of compute_90 serves what comes later. Files that end in _sm90.cu are compiled
# for 90a alone, whatever is said here: PTX of theirs, or a cubin for another target, would hold no matrix instruction.
set(RECTO_CUDA_ARCHITECTURES "80-real;90" CACHE STRING "GPUs that kernels are compiled for, as CMake writes them; 75-real, \
86-real, 89-real, 100-real and 120-real can be added")

set(RECTO_CUDA_FOUND OFF)
if(RECTO_CUDA STREQUAL "ON" OR (RECTO_CUDA STREQUAL "AUTO" AND NOT CMAKE_CROSSCOMPILING))
  # One place knows where to look, and `make cuda-toolkit` uses the same.
  execute_process(COMMAND ${CMAKE_CURRENT_LIST_DIR}/../scripts/cuda_toolkit --where compiler OUTPUT_VARIABLE RECTO_NVCC
                  OUTPUT_STRIP_TRAILING_WHITESPACE)
  if(RECTO_NVCC AND NOT CMAKE_CUDA_COMPILER)
    unset(CMAKE_CUDA_COMPILER CACHE)  # what an earlier attempt did not find
    set(ENV{CUDACXX} ${RECTO_NVCC})
    include(CheckLanguage)
    check_language(CUDA)
  endif()
  if(CMAKE_CUDA_COMPILER)
    # Before the language is enabled, or nvcc's own default is taken; every set of kernels has its own.
    set(CMAKE_CUDA_ARCHITECTURES 80-real)
    enable_language(CUDA)
    set(RECTO_CUDA_FOUND ON)
    set(RECTO_CUDA_STATE "with CUDA ${CMAKE_CUDA_COMPILER_VERSION} (${CMAKE_CUDA_COMPILER})")
  elseif(RECTO_NVCC)
    set(RECTO_CUDA_STATE "for the CPU alone: ${RECTO_NVCC} cannot compile here; it needs g++ (scripts/setup cuda)")
  else()
    set(RECTO_CUDA_STATE "for the CPU alone: no CUDA compiler found (make cuda-toolkit gets one)")
  endif()
  if(RECTO_CUDA STREQUAL "ON" AND NOT RECTO_CUDA_FOUND)
    message(FATAL_ERROR "RECTO_CUDA is ON, but this build would be ${RECTO_CUDA_STATE}")
  endif()
  if(NOT RECTO_CUDA_SAID STREQUAL RECTO_CUDA_STATE)
    message(NOTICE "recto: building ${RECTO_CUDA_STATE}")
    set(RECTO_CUDA_SAID "${RECTO_CUDA_STATE}" CACHE INTERNAL "said once")
  endif()
endif()
if(NOT RECTO_CUDA_FOUND)
  return()
endif()

# Without the NO_ options a library in a default path of this machine would hide that it is missing from the toolkit.
find_library(RECTO_CUDART NAMES libcudart_static.a PATHS ${CMAKE_CUDA_HOST_IMPLICIT_LINK_DIRECTORIES} NO_DEFAULT_PATH REQUIRED)
# The header of NVTX, by which a profiler is told names; it came with every toolkit since CUDA 10.
find_path(RECTO_NVTX nvtx3/nvToolsExt.h PATHS ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES} NO_DEFAULT_PATH)
mark_as_advanced(RECTO_CUDART RECTO_NVTX)

# The headers for C files that call the runtime; the archive for programs that link objects of this tree. What it needs of the
# system lies in the C library from glibc 2.34 on, and in these libraries before.
set(RECTO_CUDART_SYSTEM_LIBRARIES dl rt)
add_library(recto_cuda_host INTERFACE)
target_compile_definitions(recto_cuda_host INTERFACE RECTO_CUDA=1)
if(RECTO_NVTX)
  target_compile_definitions(recto_cuda_host INTERFACE RECTO_NVTX=1)
else()
  message(NOTICE "recto: without ranges for Nsight: this CUDA has no nvtx3/nvToolsExt.h")
endif()
target_include_directories(recto_cuda_host SYSTEM INTERFACE ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES})
target_link_libraries(recto_cuda_host INTERFACE ${RECTO_CUDART} ${RECTO_CUDART_SYSTEM_LIBRARIES} pthread)

# Kernels are C with __global__: without exceptions, type information and guarded statics their objects need no C++ library.
# Contraction is off on the device as well (-fmad): a kernel that wants a fused multiply-add says fmaf, and the emulator computes
# the same bits.
set(RECTO_CUDA_HOST_FLAGS -Wall -Wshadow -ffp-contract=off -fno-exceptions -fno-rtti -fno-threadsafe-statics
    -fvisibility=hidden -fno-lto)
list(JOIN RECTO_CUDA_HOST_FLAGS "," RECTO_CUDA_HOST_FLAGS)

# Machine code is a program's largest part: this packs it to less than half of what nvcc does unasked. Drivers unpack it from 12.4
# on, so that whoever has one for the runtime of 13 can.
set(RECTO_CUDA_SMALL $<$<VERSION_GREATER_EQUAL:${CMAKE_CUDA_COMPILER_VERSION},13.0>:--compress-mode=size>)

# recto_cuda_objects(NAME ARCHITECTURES architecture... FILES file...): an object library. Beside every object lies a file .ptxas
# with what the assembler said of its registers, which tests/pins reads.
function(recto_cuda_objects name)
  cmake_parse_arguments(SET "" "" "ARCHITECTURES;FILES" ${ARGN})
  add_library(${name} OBJECT ${SET_FILES})
  set_target_properties(${name} PROPERTIES
    CUDA_ARCHITECTURES "${SET_ARCHITECTURES}"
    CUDA_STANDARD 17
    CUDA_STANDARD_REQUIRED ON
    CUDA_EXTENSIONS OFF
    CUDA_RUNTIME_LIBRARY Static
    CUDA_COMPILER_LAUNCHER "sh;${CMAKE_CURRENT_FUNCTION_LIST_DIR}/keep_log.sh"
    INTERPROCEDURAL_OPTIMIZATION OFF
    POSITION_INDEPENDENT_CODE ON)
  target_include_directories(${name} PRIVATE ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/..)
  target_compile_options(${name} PRIVATE -O3 -fmad=false "SHELL:-Xcompiler=${RECTO_CUDA_HOST_FLAGS}"
                         "SHELL:-Xptxas=-v" ${RECTO_CUDA_SMALL})
  # Names that nvcc would make up at random: objects are the same bytes for the same sources.
  foreach(file ${SET_FILES})
    file(RELATIVE_PATH seed ${PROJECT_SOURCE_DIR} ${file})
    string(MAKE_C_IDENTIFIER ${seed} seed)
    set_source_files_properties(${file} PROPERTIES COMPILE_OPTIONS "-frandom-seed=${seed}")
  endforeach()
endfunction()

# recto_cuda_merge(OUTPUT object NAMES library...): object libraries as one object without the compiler's temporary names. Seen as
# an object from outside, it does not make CMake link programs as C++.
function(recto_cuda_merge)
  cmake_parse_arguments(ARG "" "OUTPUT" "NAMES" ${ARGN})
  list(TRANSFORM ARG_NAMES REPLACE "(.+)" "$<TARGET_OBJECTS:\\1>" OUTPUT_VARIABLE objects)
  add_custom_command(
    OUTPUT ${ARG_OUTPUT}
    COMMAND ${CMAKE_LINKER} -r -o ${ARG_OUTPUT} ${objects}
    COMMAND ${CMAKE_OBJCOPY} --strip-unneeded ${ARG_OUTPUT}
    DEPENDS ${objects}
    COMMENT "Joining the CUDA kernels"
    COMMAND_EXPAND_LISTS VERBATIM)
  set_source_files_properties(${ARG_OUTPUT} PROPERTIES EXTERNAL_OBJECT ON GENERATED ON)
endfunction()
