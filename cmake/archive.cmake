# librecto.a: every object of ours and what it needs of other archives, linked into one object whose only global symbols are
# recto_*. A program can then link it beside its own copy of any of these archives, or a rival of the same symbol names.

# recto_archive(OBJECTS object... LIBRARIES archive...): the target recto_archive, and recto::recto to link with.
function(recto_archive)
  cmake_parse_arguments(ARG "" "" "OBJECTS;LIBRARIES" ${ARGN})
  set(object ${PROJECT_BINARY_DIR}/librecto.o)
  set(archive ${PROJECT_BINARY_DIR}/librecto.a)
  # CUDA's runtime is C++ inside: its functions lie in groups, of which the linker keeps one copy a program. Opened here, they are
  # ours alone, and a program may have the same archive once more.
  set(groups "")
  if(RECTO_CUDA_FOUND)
    set(groups --force-group-allocation)
  endif()
  add_custom_command(
    OUTPUT ${archive}
    COMMAND ${CMAKE_LINKER} -r ${groups} -o ${object} ${ARG_OBJECTS} ${ARG_LIBRARIES}
    COMMAND ${CMAKE_OBJCOPY} --wildcard --keep-global-symbol=recto_* ${object}
    COMMAND ${CMAKE_COMMAND} -E rm -f ${archive}
    COMMAND ${CMAKE_AR} rcsD ${archive} ${object}
    COMMAND ${CMAKE_COMMAND} -E rm ${object}
    DEPENDS ${ARG_OBJECTS} ${ARG_LIBRARIES}
    COMMENT "Prelinking librecto.a"
    COMMAND_EXPAND_LISTS VERBATIM)
  add_custom_target(recto_archive ALL DEPENDS ${archive})

  # The header in a folder of its own: users of the library must not see the other headers of host/.
  configure_file(${PROJECT_SOURCE_DIR}/host/recto.h ${PROJECT_BINARY_DIR}/include/recto.h COPYONLY)
  add_library(recto::recto STATIC IMPORTED GLOBAL)
  add_dependencies(recto::recto recto_archive)
  set_target_properties(recto::recto PROPERTIES
    IMPORTED_LOCATION ${archive}
    IMPORTED_LINK_INTERFACE_LANGUAGES C
    INTERFACE_INCLUDE_DIRECTORIES ${PROJECT_BINARY_DIR}/include
    INTERFACE_LINK_LIBRARIES "${RECTO_SYSTEM_LIBRARIES}")
endfunction()

# What `cmake --install` copies: archive, header, the files for find_package and pkg-config, the licences, the command.
function(recto_install)
  include(GNUInstallDirs)
  include(CMakePackageConfigHelpers)
  set(package ${CMAKE_INSTALL_LIBDIR}/cmake/recto)
  set(library ${CMAKE_INSTALL_LIBDIR}/librecto.a)
  configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/recto-config.cmake.in recto-config.cmake
    INSTALL_DESTINATION ${package} PATH_VARS library CMAKE_INSTALL_INCLUDEDIR)
  write_basic_package_version_file(recto-config-version.cmake COMPATIBILITY SameMinorVersion)
  # Relative, so that an installed tree can be moved.
  file(RELATIVE_PATH prefix /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
  list(TRANSFORM RECTO_SYSTEM_LIBRARIES PREPEND -l OUTPUT_VARIABLE system_libraries)
  list(JOIN system_libraries " " system_libraries)
  configure_file(${PROJECT_SOURCE_DIR}/cmake/recto.pc.in recto.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/librecto.a DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(FILES ${PROJECT_SOURCE_DIR}/host/recto.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
  install(FILES ${CMAKE_CURRENT_BINARY_DIR}/recto-config.cmake ${CMAKE_CURRENT_BINARY_DIR}/recto-config-version.cmake
          DESTINATION ${package})
  install(FILES ${CMAKE_CURRENT_BINARY_DIR}/recto.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
  install(FILES ${PROJECT_SOURCE_DIR}/LICENSE ${PROJECT_SOURCE_DIR}/NOTICE DESTINATION ${CMAKE_INSTALL_DOCDIR})
  if(TARGET recto)
    install(TARGETS recto DESTINATION ${CMAKE_INSTALL_BINDIR})
  endif()
endfunction()
