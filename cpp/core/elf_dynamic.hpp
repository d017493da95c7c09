// The dynamic section of an ELF file: what it needs from the system, and where its relocations are.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "elf.hpp"

namespace shim {

struct ElfTable {
  std::uint64_t offset = 0;  // in the file
  std::uint64_t size = 0;    // bytes; 0 = there is none
};

// The bytes of a table; empty (and nothing fetched) when there is none.
Bytes view_table(const Windows& file, const ElfTable& table, const char* what);

struct ElfDynamic {
  std::vector<std::string> needed;  // DT_NEEDED, in order
  std::string soname;
  std::optional<std::pair<std::uint32_t, std::uint32_t>> glibc;  // highest GLIBC_x.y among the versions needed
  ElfTable rela;                // DT_RELA, without the PLT's
  ElfTable relr;                // DT_RELR
  bool android_packed = false;  // DT_ANDROID_RELA or DT_ANDROID_REL: a format shim does not read
  std::uint64_t symtab = 0;     // file offset of .dynsym, 0 = none
  std::map<std::int64_t, std::uint64_t> tags;  // all entries as they stand; of equal tags the last, as the loader does
  std::uint64_t offset = 0;                    // of the section, in the file

  std::uint64_t get(std::int64_t tag) const {
    const auto it = tags.find(tag);
    return it == tags.end() ? 0 : it->second;
  }
};

// Found through PT_DYNAMIC, as the loader does, so that files without section headers are read too. A file without
// PT_DYNAMIC (static, or an object) gives an empty result. Throws ParseError.
ElfDynamic read_dynamic(const Windows& file, const Elf& elf);

}  // namespace shim
