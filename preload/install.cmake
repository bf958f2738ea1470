# What is installed, and how the libraries are named; included from the top CMakeLists.txt once both targets exist.
include_guard(GLOBAL)
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set(BSLAB_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/bslab)

# libbslab.so -> libbslab.so.0 -> libbslab.so.0.1.0
set_target_properties(bslab PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR})
set_target_properties(bslab_static PROPERTIES EXPORT_NAME static)
# A linker takes an object out of an archive for a name that is still undefined. A program that itself never allocates
# names nothing of ours, and its libraries would go on with libc's malloc.
target_link_options(bslab_static INTERFACE LINKER:--undefined=malloc)
# Distributions link with --as-needed: a program whose libraries alone allocate would lose it.
target_link_options(bslab INTERFACE LINKER:--no-as-needed)

install(TARGETS bslab bslab_static EXPORT bslab-targets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(TARGETS bslab-deepbind LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(TARGETS bslab-stat RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(FILES ${PROJECT_SOURCE_DIR}/src/insight/bslab-gdb.py DESTINATION ${CMAKE_INSTALL_DATADIR}/bslab)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/bslab DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(FILES ${PROJECT_SOURCE_DIR}/README.md ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/docs DESTINATION ${CMAKE_INSTALL_DOCDIR}
  PATTERN man EXCLUDE PATTERN "*.xz" EXCLUDE)
install(FILES ${PROJECT_SOURCE_DIR}/docs/man/bslab-run.1 ${PROJECT_SOURCE_DIR}/docs/man/bslab-stat.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
if(TARGET bslab-top)
  install(TARGETS bslab-top RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
  install(FILES ${PROJECT_SOURCE_DIR}/docs/man/bslab-top.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
endif()
install(FILES ${PROJECT_SOURCE_DIR}/docs/man/bslab.3 DESTINATION ${CMAKE_INSTALL_MANDIR}/man3)

# --- CMake package: find_package(bslab), targets bslab::bslab and bslab::static --------------------------------------

configure_package_config_file(${PROJECT_SOURCE_DIR}/preload/bslab-config.cmake.in
  ${PROJECT_BINARY_DIR}/bslab-config.cmake INSTALL_DESTINATION ${BSLAB_CMAKE_DIR}
  NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/bslab-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/bslab-config.cmake ${PROJECT_BINARY_DIR}/bslab-config-version.cmake
  DESTINATION ${BSLAB_CMAKE_DIR})
install(EXPORT bslab-targets NAMESPACE bslab:: DESTINATION ${BSLAB_CMAKE_DIR})

# --- pkg-config ------------------------------------------------------------------------------------------------------

# The prefix is found from where the file is, so that `cmake --install build --prefix DIR` needs no new configuration.
file(RELATIVE_PATH BSLAB_PC_PREFIX ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
string(REGEX REPLACE "/$" "" BSLAB_PC_PREFIX "${BSLAB_PC_PREFIX}")
foreach(dir LIBDIR INCLUDEDIR)
  if(IS_ABSOLUTE ${CMAKE_INSTALL_${dir}})
    set(BSLAB_PC_${dir} ${CMAKE_INSTALL_${dir}})
  else()
    set(BSLAB_PC_${dir} \${prefix}/${CMAKE_INSTALL_${dir}})
  endif()
endforeach()
configure_file(${PROJECT_SOURCE_DIR}/preload/bslab.pc.in ${PROJECT_BINARY_DIR}/bslab.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/bslab.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

# --- bslab-run: in the source tree as it stands, beside the library in the build tree, and installed -----------------

function(bslab_write_wrapper dir libdir)
  file(READ ${PROJECT_SOURCE_DIR}/preload/bslab-run text)
  string(REPLACE "libdir=../build\n" "libdir=${libdir}\n" text "${text}")
  string(REPLACE "version=development\n" "version=${PROJECT_VERSION}\n" text "${text}")
  file(WRITE ${PROJECT_BINARY_DIR}/CMakeFiles/bslab-run "${text}")
  file(COPY ${PROJECT_BINARY_DIR}/CMakeFiles/bslab-run DESTINATION ${dir}
    FILE_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
endfunction()

set_property(DIRECTORY ${PROJECT_SOURCE_DIR} APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS
  ${PROJECT_SOURCE_DIR}/preload/bslab-run)
file(RELATIVE_PATH bin_to_lib ${CMAKE_INSTALL_FULL_BINDIR} ${CMAKE_INSTALL_FULL_LIBDIR})
bslab_write_wrapper(${PROJECT_BINARY_DIR} .)
bslab_write_wrapper(${PROJECT_BINARY_DIR}/CMakeFiles/installed ${bin_to_lib})
install(PROGRAMS ${PROJECT_BINARY_DIR}/CMakeFiles/installed/bslab-run DESTINATION ${CMAKE_INSTALL_BINDIR})
