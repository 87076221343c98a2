# SPDX-License-Identifier: Apache-2.0
# What `cmake --install` (make install) puts where, the same for a package and for a machine of one's own:
#   bin/relay, systemd units, man pages, completions, and in share/doc the examples and the protocol of a plex.
# Units name the program by CMAKE_INSTALL_PREFIX. /etc/relay is where they look for configurations, whatever
# the prefix; nothing is installed there. Included from CMakeLists.txt; package.cmake then makes packages of the same.
include(GNUInstallDirs)

set(UNITS_PLACE lib/systemd/system)  # systemd looks below /usr and below /usr/local
# Where zsh looks: a distribution's place, or the machine's own.
set(ZSH_PLACE site-functions)
if(CMAKE_INSTALL_PREFIX STREQUAL /usr)
  set(ZSH_PLACE vendor-completions)
endif()
set(RELAY ${CMAKE_INSTALL_FULL_BINDIR}/relay)
file(READ packaging/systemd/sandbox.in SANDBOX)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/packaging/systemd/sandbox.in)
set(UNITS relay.service relay@.service relay@.socket)
set(UNIT_FILES)
foreach(unit IN LISTS UNITS)
  configure_file(packaging/systemd/${unit}.in ${CMAKE_BINARY_DIR}/units/${unit} @ONLY)
  list(APPEND UNIT_FILES ${CMAKE_BINARY_DIR}/units/${unit})
endforeach()

# gzip -n: no name and no time in it, so that the same page is the same file.
file(GLOB PAGES CONFIGURE_DEPENDS RELATIVE ${CMAKE_SOURCE_DIR}/man man/*.?)
set(PACKED)
foreach(page IN LISTS PAGES)
  set(gz ${CMAKE_BINARY_DIR}/man/${page}.gz)
  add_custom_command(OUTPUT ${gz} DEPENDS man/${page}
    COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_BINARY_DIR}/man
    COMMAND sh -c "gzip -9n < '${CMAKE_SOURCE_DIR}/man/${page}' > '${gz}'" VERBATIM)
  list(APPEND PACKED ${gz})
  string(REGEX REPLACE ".*\\." "" number ${page})
  install(FILES ${gz} DESTINATION ${CMAKE_INSTALL_MANDIR}/man${number})
endforeach()
add_custom_target(man ALL DEPENDS ${PACKED})

install(TARGETS relay DESTINATION ${CMAKE_INSTALL_BINDIR})
install(FILES ${UNIT_FILES} DESTINATION ${UNITS_PLACE})
install(FILES packaging/completions/relay.bash DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME relay)
install(FILES packaging/completions/_relay DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/${ZSH_PLACE})
install(DIRECTORY examples/ DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples PATTERN *.py EXCLUDE PATTERN __pycache__ EXCLUDE)
install(PROGRAMS examples/plex/echo_upstream.py DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples/plex)
install(DIRECTORY proto/ DESTINATION ${CMAKE_INSTALL_DOCDIR}/proto)
