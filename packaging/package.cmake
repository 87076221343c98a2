# SPDX-License-Identifier: Apache-2.0
# A Debian package of what install.cmake installs (make deb): no dependencies, for the program is static.
# The same commit makes the same package, byte for byte: the times in it are SOURCE_DATE_EPOCH's, which make takes from the commit.
if(NOT CMAKE_INSTALL_PREFIX STREQUAL /usr)
  return()
endif()
file(STRINGS relay.h RELAY_VERSION REGEX "kVersion = ")
string(REGEX REPLACE ".*\"([0-9.]+)\".*" "\\1" RELAY_VERSION "${RELAY_VERSION}")

add_custom_command(OUTPUT ${CMAKE_BINARY_DIR}/changelog.gz ${CMAKE_BINARY_DIR}/changelog.Debian.gz
  DEPENDS CHANGELOG.md packaging/debian/changelog
  COMMAND sh -c "gzip -9n < '${CMAKE_SOURCE_DIR}/CHANGELOG.md' > changelog.gz"
  COMMAND sh -c "gzip -9n < '${CMAKE_SOURCE_DIR}/packaging/debian/changelog' > changelog.Debian.gz"
  WORKING_DIRECTORY ${CMAKE_BINARY_DIR} VERBATIM)
add_custom_target(changelogs ALL DEPENDS ${CMAKE_BINARY_DIR}/changelog.gz ${CMAKE_BINARY_DIR}/changelog.Debian.gz)
install(FILES packaging/debian/copyright ${CMAKE_BINARY_DIR}/changelog.gz ${CMAKE_BINARY_DIR}/changelog.Debian.gz
  DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES packaging/debian/lintian-overrides DESTINATION ${CMAKE_INSTALL_DATADIR}/lintian/overrides RENAME relay)
install(DIRECTORY DESTINATION /etc/relay DIRECTORY_PERMISSIONS
  OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME relay)
set(CPACK_PACKAGE_VERSION ${RELAY_VERSION})
set(CPACK_PACKAGE_CONTACT "The maintainers of relay <maintainers@relay.invalid>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "relays connections of functions, and of Redis clients")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION "Two functions or jobs in different clusters want to talk over TCP. Each
runs only for a moment, and nobody can connect to it. relay listens for
them: it stands beside the gateway of a cluster, takes the function's
connection and the gateway's, whoever comes first, holds what the first
one sends until the other is there, and then passes bytes both ways.

It also stands between Redis clients and a server or cluster that is far
away: it shares a few lasting connections among all clients, and may
answer writes at once and do them in the background.

And it stands between many long-lived TCP clients and a gRPC server: it
names them, passes what they say over one stream, and keeps them connected
while servers come and go.")
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS OFF)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA
  ${CMAKE_SOURCE_DIR}/packaging/debian/postinst ${CMAKE_SOURCE_DIR}/packaging/debian/prerm ${CMAKE_SOURCE_DIR}/packaging/debian/postrm)
set(CPACK_STRIP_FILES ON)
set(CPACK_SET_DESTDIR ON)
set(CPACK_INSTALL_PREFIX /usr)
set(CPACK_PRE_BUILD_SCRIPTS ${CMAKE_SOURCE_DIR}/packaging/same_times.cmake)
include(CPack)
