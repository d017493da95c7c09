// Headers of ELF64 little-endian files for x86-64 and aarch64: objects, executables and shared objects.
//
// Every function here takes a Windows and may throw MissingRange; it then has no lasting effect and can be called again
// once the range is there. Only the ranges that are needed are touched. Names of constants and layouts: <elf.h>.
#pragma once

#include <elf.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bytes.hpp"

namespace shim {

// Tables above this size are refused, so that a hostile header cannot make a streaming reader hold the whole file. The
// largest seen in a wheel is a .dynstr of some 40 MB; a million relocations take 24 MB.
inline constexpr std::uint64_t kElfTableLimit = 256ULL << 20;

struct ElfHeader {
  std::uint16_t type = 0;     // ET_REL, ET_EXEC or ET_DYN
  std::uint16_t machine = 0;  // EM_X86_64 or EM_AARCH64
  std::uint64_t phoff = 0;
  std::uint64_t shoff = 0;     // 0 = no section headers
  std::uint32_t phnum = 0;     // true counts: extended numbering (section 0) is resolved
  std::uint32_t shnum = 0;
  std::uint32_t shstrndx = 0;  // SHN_UNDEF (0) = sections have no names
};

struct Segment {
  std::uint32_t type = 0;
  std::uint32_t flags = 0;
  std::uint64_t offset = 0;
  std::uint64_t vaddr = 0;
  std::uint64_t filesz = 0;
  std::uint64_t memsz = 0;
  std::uint64_t align = 0;
};

struct Section {
  std::string name;  // cut after 255 characters (C++ section groups can be long; ours are short)
  std::uint32_t type = 0;
  std::uint64_t flags = 0;
  std::uint64_t addr = 0;
  std::uint64_t offset = 0;
  std::uint64_t size = 0;
  std::uint32_t link = 0;
  std::uint32_t info = 0;
  std::uint64_t addralign = 0;
  std::uint64_t entsize = 0;
  std::uint32_t name_offset = 0;  // of the name in the section name table
};

struct Elf {
  ElfHeader header;
  std::vector<Segment> segments;
  std::vector<Section> sections;

  // File offset of [vaddr, vaddr+size), which must lie in the file-backed part of one PT_LOAD; else nothing.
  std::optional<std::uint64_t> vaddr_to_offset(std::uint64_t vaddr, std::uint64_t size = 1) const noexcept;
  std::optional<std::uint64_t> offset_to_vaddr(std::uint64_t offset, std::uint64_t size = 1) const noexcept;

  // As vaddr_to_offset, but a ParseError naming `what` when nothing is mapped there. `where` = offset of the pointer.
  std::uint64_t mapped_offset(std::uint64_t vaddr, std::uint64_t size, const char* what, std::uint64_t where) const;

  const Segment* find_segment(std::uint32_t type) const noexcept;        // the first one, or null
  const Section* find_section(std::string_view name) const noexcept;     // the first one, or null
};

// Reads and checks the three tables: sizes of the headers, tables and contents inside the file, PT_LOADs ascending and
// apart, p_filesz <= p_memsz. A file without section headers (sections empty) is fine. Throws ParseError.
Elf parse_elf(const Windows& file);

// The NUL-terminated string at `offset` of a string table; ParseError when it does not end inside. `where` = file
// offset of the table, for the message.
std::string string_at(Bytes table, std::uint64_t offset, const char* what, std::uint64_t where);

// "<what>: expected <expected>, found <found>"
[[noreturn]] void fail_expected(const std::string& what, std::uint64_t expected, std::uint64_t found, std::uint64_t at);

}  // namespace shim
