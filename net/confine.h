// SPDX-License-Identifier: Apache-2.0
// Confine: the system calls of a relay, as a filter for the kernel (seccomp(2), classic BPF), and nothing else from then on.
//
//   call ─► listed as harmful ───────────────────────► the process is killed (SIGSYS)
//      └──► listed as a relay's ─► arguments fit? yes ► goes on
//      │                                     no ──────► EPERM, or killed where only an attack would ask for it
//      └──► neither ─────────────────────────────────► ENOSYS
//
// Three answers for three cases. What only an attacker wants (a new program, a new process, code in memory that was data, a
// look into other processes, other rights) ends the process: it must not get a second try. What a relay does with other
// arguments is refused as by permissions. What nobody thought of is answered as by an older kernel, because that is what libc
// and c-ares have a way round for: a release of them with a new call must not kill relays that hold bytes.
//
// The lists are in confine.cpp. They are about calls and not about files: files are for the service manager (ProtectSystem=).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "lib/status.h"

struct sock_filter;

namespace relay {

// Whether this program has a filter: it knows the calls of x86_64 and aarch64. Not with sanitizers, whose runtime does what
// a relay must not.
bool can_confine();

// What not every relay needs.
struct Rights {
  bool files = false;  // to write, shorten and sync files that are open: a spool's
  bool workers = false;  // to make pairs of sockets: for worker processes, which another process makes
};

// The filter for the process `pid`, which may send signals to itself alone. Empty unless can_confine().
std::vector<sock_filter> confinement(int pid, const Rights& rights = {});

// Installs it, for good and for all that this process starts; it also gives up new privileges (PR_SET_NO_NEW_PRIVS).
// REQUIRES: can_confine(), and what is opened for writing is open.
Status install_confinement(const Rights& rights = {});

}  // namespace relay
