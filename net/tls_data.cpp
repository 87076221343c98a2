// SPDX-License-Identifier: Apache-2.0
// The tables lie in pages of their own (tls_data.ld). To forget them is to have the kernel drop these pages: they are then as the file
// has them, with offsets where pointers have to be. To need them again is to do once more, for these pages, what the start has done
// for all: add the program's address to each word that the linker has listed, in the format of DT_RELR (generic ABI, "Relative
// relocations"): an even entry is a word's place, an odd one has a bit for each of the 63 words that follow.
#include "net/tls_data.h"

#include <elf.h>
#include <link.h>
#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <span>

extern "C" const Elf64_Ehdr __ehdr_start;  // the linker's: our file's first bytes
extern "C" std::byte relay_tls_data_begin[] __attribute__((visibility("hidden")));
extern "C" std::byte relay_tls_data_end[] __attribute__((visibility("hidden")));

namespace relay::tls_data {
namespace {

bool needed = false;
bool forgotten = false;

uintptr_t begin() { return reinterpret_cast<uintptr_t>(relay_tls_data_begin); }
uintptr_t end() { return reinterpret_cast<uintptr_t>(relay_tls_data_end); }
uintptr_t program() { return reinterpret_cast<uintptr_t>(&__ehdr_start); }

bool protect(int protection) { return ::mprotect(relay_tls_data_begin, end() - begin(), protection) == 0; }

// A number of the dynamic section; 0: it is not there.
uintptr_t dynamic(Elf64_Sxword tag) {
  for (const Elf64_Dyn* entry = _DYNAMIC; entry->d_tag != DT_NULL; ++entry)
    if (entry->d_tag == tag) return entry->d_un.d_val;
  return 0;
}

template <typename Entry>
std::span<const Entry> table(Elf64_Sxword place, Elf64_Sxword size) {
  uintptr_t at = dynamic(place);
  if (at != 0 && at < program()) at += program();  // a dynamic linker writes the address itself
  return {reinterpret_cast<const Entry*>(at), dynamic(size) / sizeof(Entry)};
}

// Whether all that was done to the tables is in the one list that relocate() reads.
bool is_listed() {
  for (const auto& entry : table<Elf64_Rela>(DT_RELA, DT_RELASZ))
    if (program() + entry.r_offset >= begin() && program() + entry.r_offset < end()) return false;
  return dynamic(DT_RELRSZ) != 0;
}

void relocate() {
  constexpr uintptr_t kWord = sizeof(uintptr_t);
  const auto add = [](uintptr_t place) {
    if (place >= begin() && place < end()) *reinterpret_cast<uintptr_t*>(place) += program();
  };
  uintptr_t next = 0;
  for (const Elf64_Relr entry : table<Elf64_Relr>(DT_RELR, DT_RELRSZ)) {
    if ((entry & 1) == 0) {
      add(program() + entry);
      next = program() + entry + kWord;
      continue;
    }
    for (uintptr_t bits = entry >> 1, place = next; bits != 0; bits >>= 1, place += kWord)
      if ((bits & 1) != 0) add(place);
    next += (8 * kWord - 1) * kWord;
  }
}

}  // namespace

void forget() {
  if (needed || forgotten || !is_listed()) return;
  // What is still not to be touched shall be noticed at once.
  forgotten = ::madvise(relay_tls_data_begin, end() - begin(), MADV_DONTNEED) == 0 && protect(PROT_NONE);
}

bool need() {
  needed = true;
  if (!forgotten) return true;
  if (!protect(PROT_READ | PROT_WRITE)) return false;
  relocate();
  protect(PROT_READ);
  forgotten = false;
  return true;
}

}  // namespace relay::tls_data
