# The CPU kernels: the references and tables once, and each vectorised file once for every instruction set it is meant for.
# RECTO_KERNEL_OBJECTS is all of them, as $<TARGET_OBJECTS:...>.
file(GLOB KERNEL_PLAIN CONFIGURE_DEPENDS kernels/*.c kernels/*/*_ref.c kernels/*/*_pack.c)
file(GLOB KERNEL_VECTORISED CONFIGURE_DEPENDS kernels/*/*_cpu.c)

add_library(recto_kernels OBJECT ${KERNEL_PLAIN})
target_link_libraries(recto_kernels PRIVATE recto_flags)
set(RECTO_KERNEL_OBJECTS $<TARGET_OBJECTS:recto_kernels>)

# kernel_set(NAME FLAGS flag... FILES file...): the files compiled with the flags; their symbols end in _NAME.
function(kernel_set name)
  cmake_parse_arguments(SET "" "" "FLAGS;FILES" ${ARGN})
  add_library(recto_kernels_${name} OBJECT ${SET_FILES})
  target_link_libraries(recto_kernels_${name} PRIVATE recto_flags)
  target_compile_options(recto_kernels_${name} PRIVATE ${SET_FLAGS})
  target_compile_definitions(recto_kernels_${name} PRIVATE KERNEL_ISA=${name})
endfunction()

if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64|amd64")
  set(RECTO_KERNEL_SETS avx2 avx512 avx512vnni avx512bf16)
  set(AVX2 -mavx2 -mfma)
  set(AVX512 ${AVX2} -mavx512f -mavx512bw -mavx512dq -mavx512vl)
  set(INTEGER_FILES ${PROJECT_SOURCE_DIR}/kernels/linear/linear_u8s8_cpu.c
                    ${PROJECT_SOURCE_DIR}/kernels/attention/attention_s16_cpu.c)
  set(BF16_FILES ${PROJECT_SOURCE_DIR}/kernels/linear/linear_bf16_cpu.c
      ${PROJECT_SOURCE_DIR}/kernels/attention/attention_bf16_cpu.c)
  kernel_set(avx2 FLAGS ${AVX2} FILES ${KERNEL_VECTORISED})
  kernel_set(avx512 FLAGS ${AVX512} FILES ${KERNEL_VECTORISED})
  kernel_set(avx512vnni FLAGS ${AVX512} -mavx512vnni FILES ${INTEGER_FILES})
  kernel_set(avx512bf16 FLAGS ${AVX512} -mavx512vnni -mavx512bf16 FILES ${BF16_FILES})
elseif(CMAKE_SYSTEM_PROCESSOR STREQUAL "aarch64")
  set(RECTO_KERNEL_SETS neon)
  kernel_set(neon FILES ${KERNEL_VECTORISED})
endif()
foreach(name ${RECTO_KERNEL_SETS})
  list(APPEND RECTO_KERNEL_OBJECTS $<TARGET_OBJECTS:recto_kernels_${name}>)
endforeach()
