#include "elf.hpp"

#include <algorithm>
#include <cstddef>

namespace shim {
namespace {

constexpr std::uint32_t kMaxSegments = 1U << 12;  // a linker makes about ten
constexpr std::uint32_t kMaxSections = 1U << 18;
constexpr std::size_t kMaxName = 255;

std::string hex(std::uint64_t value) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string text;
  do text.insert(text.begin(), digits[value & 15]);
  while (value >>= 4);
  return "0x" + text;
}

void expect(const std::string& what, std::uint64_t expected, std::uint64_t found, std::uint64_t at) {
  if (expected != found) fail_expected(what, expected, found, at);
}

void check_ident(const Elf64_Ehdr& h) {
  if (std::memcmp(h.e_ident, ELFMAG, SELFMAG) != 0) throw ParseError("not an ELF file: magic bytes missing", 0);
  expect("ELF class (EI_CLASS; 2 = 64-bit)", ELFCLASS64, h.e_ident[EI_CLASS], EI_CLASS);
  expect("ELF byte order (EI_DATA; 1 = little-endian)", ELFDATA2LSB, h.e_ident[EI_DATA], EI_DATA);
  expect("ELF version (EI_VERSION)", EV_CURRENT, h.e_ident[EI_VERSION], EI_VERSION);
  if (h.e_machine != EM_X86_64 && h.e_machine != EM_AARCH64)
    throw ParseError("ELF machine (e_machine): expected 62 (x86-64) or 183 (aarch64), found " +
                         std::to_string(h.e_machine),
                     offsetof(Elf64_Ehdr, e_machine));
  if (h.e_type != ET_REL && h.e_type != ET_EXEC && h.e_type != ET_DYN)
    throw ParseError("ELF type (e_type): expected 1 (object), 2 (executable) or 3 (shared object), found " +
                         std::to_string(h.e_type),
                     offsetof(Elf64_Ehdr, e_type));
  expect("ELF header size (e_ehsize)", sizeof(Elf64_Ehdr), h.e_ehsize, offsetof(Elf64_Ehdr, e_ehsize));
}

void check_count(const char* what, std::uint64_t count, std::uint64_t limit, std::uint64_t at) {
  if (count > limit)
    throw ParseError(std::string(what) + ": " + std::to_string(count) + " is more than the limit of " +
                         std::to_string(limit),
                     at);
}

// Counts that do not fit the header's 16 bits stand in section header 0 (gABI, "extended numbering").
ElfHeader read_header(const Windows& file) {
  const auto h = file.at<Elf64_Ehdr>(0, "ELF header");
  check_ident(h);
  ElfHeader out{h.e_type, h.e_machine, h.e_phoff, h.e_shoff, h.e_phnum, h.e_shnum, h.e_shstrndx};
  if (out.shoff == 0) {
    if (h.e_shnum != 0)
      throw ParseError("section count (e_shnum) is " + std::to_string(h.e_shnum) + ", but there is no section table",
                       offsetof(Elf64_Ehdr, e_shnum));
    if (h.e_phnum == PN_XNUM)
      throw ParseError("program header count (e_phnum) points to section 0, but there is no section table",
                       offsetof(Elf64_Ehdr, e_phnum));
    out.shstrndx = SHN_UNDEF;
  } else {
    expect("section header size (e_shentsize)", sizeof(Elf64_Shdr), h.e_shentsize, offsetof(Elf64_Ehdr, e_shentsize));
    if (h.e_shnum == 0 || h.e_phnum == PN_XNUM || h.e_shstrndx == SHN_XINDEX) {
      const auto first = file.at<Elf64_Shdr>(out.shoff, "section header 0");
      if (h.e_shnum == 0) {
        check_count("section count (section 0)", first.sh_size, kMaxSections, out.shoff);
        out.shnum = static_cast<std::uint32_t>(first.sh_size);
      }
      if (h.e_phnum == PN_XNUM) out.phnum = first.sh_info;
      if (h.e_shstrndx == SHN_XINDEX) out.shstrndx = first.sh_link;
    }
  }
  check_count("section count", out.shnum, kMaxSections, offsetof(Elf64_Ehdr, e_shnum));
  check_count("program header count", out.phnum, kMaxSegments, offsetof(Elf64_Ehdr, e_phnum));
  if (out.phnum != 0)
    expect("program header size (e_phentsize)", sizeof(Elf64_Phdr), h.e_phentsize, offsetof(Elf64_Ehdr, e_phentsize));
  return out;
}

std::string nth(const char* what, std::size_t index) { return std::string(what) + " " + std::to_string(index); }

void check_load_order(const std::vector<Segment>& segments, std::uint64_t phoff) {
  const Segment* before = nullptr;
  for (std::size_t i = 0; i < segments.size(); ++i) {
    const Segment& s = segments[i];
    if (s.type != PT_LOAD) continue;
    const std::uint64_t at = phoff + i * sizeof(Elf64_Phdr);
    if (s.filesz > s.memsz)
      throw ParseError(nth("loaded segment", i) + ": file size " + hex(s.filesz) + " exceeds memory size " +
                           hex(s.memsz),
                       at);
    checked_add(s.vaddr, s.memsz, at);
    if (before != nullptr && s.vaddr < before->vaddr)
      throw ParseError(nth("loaded segment", i) + " at " + hex(s.vaddr) + " stands below the one before it at " +
                           hex(before->vaddr),
                       at);
    if (before != nullptr && s.vaddr < before->vaddr + before->memsz)
      throw ParseError(nth("loaded segment", i) + " at " + hex(s.vaddr) +
                           " overlaps the one before it, which ends at " + hex(before->vaddr + before->memsz),
                       at);
    before = &s;
  }
}

std::vector<Segment> read_segments(const Windows& file, const ElfHeader& header) {
  std::vector<Segment> out;
  if (header.phnum == 0) return out;
  const Bytes table = file.view(header.phoff, header.phnum * sizeof(Elf64_Phdr), "program header table");
  out.reserve(header.phnum);
  for (std::size_t i = 0; i < header.phnum; ++i) {
    const auto p = load<Elf64_Phdr>(table.data() + i * sizeof(Elf64_Phdr));
    if (p.p_type != PT_NULL && !inside(p.p_offset, p.p_filesz, file.file_size()))
      throw ParseError(nth("segment", i) + ": " + hex(p.p_filesz) + " bytes at file offset " + hex(p.p_offset) +
                           " leave the file of " + hex(file.file_size()) + " bytes",
                       header.phoff + i * sizeof(Elf64_Phdr));
    out.push_back({p.p_type, p.p_flags, p.p_offset, p.p_vaddr, p.p_filesz, p.p_memsz, p.p_align});
  }
  check_load_order(out, header.phoff);
  return out;
}

std::vector<Section> read_section_table(const Windows& file, const ElfHeader& header) {
  std::vector<Section> out;
  if (header.shoff == 0 || header.shnum == 0) return out;
  const Bytes table = file.view(header.shoff, header.shnum * sizeof(Elf64_Shdr), "section header table");
  out.reserve(header.shnum);
  for (std::size_t i = 0; i < header.shnum; ++i) {
    const auto s = load<Elf64_Shdr>(table.data() + i * sizeof(Elf64_Shdr));
    if (s.sh_type != SHT_NULL && s.sh_type != SHT_NOBITS && !inside(s.sh_offset, s.sh_size, file.file_size()))
      throw ParseError(nth("section", i) + ": " + hex(s.sh_size) + " bytes at file offset " + hex(s.sh_offset) +
                           " leave the file of " + hex(file.file_size()) + " bytes",
                       header.shoff + i * sizeof(Elf64_Shdr));
    out.push_back({{}, s.sh_type, s.sh_flags, s.sh_addr, s.sh_offset, s.sh_size, s.sh_link, s.sh_info, s.sh_addralign,
                   s.sh_entsize, s.sh_name});
  }
  return out;
}

void read_names(const Windows& file, const ElfHeader& header, std::vector<Section>& sections) {
  if (header.shstrndx == SHN_UNDEF || sections.empty()) return;
  if (header.shstrndx >= sections.size())
    throw ParseError("section name table (e_shstrndx): section " + std::to_string(header.shstrndx) + " of " +
                         std::to_string(sections.size()) + " does not exist",
                     offsetof(Elf64_Ehdr, e_shstrndx));
  const Section& table = sections[header.shstrndx];
  if (table.type != SHT_STRTAB)
    fail_expected("type of the section name table (3 = string table)", SHT_STRTAB, table.type,
                  header.shoff + header.shstrndx * sizeof(Elf64_Shdr));
  if (table.size > kElfTableLimit) throw ParseError("section name table: " + hex(table.size) + " bytes", table.offset);
  const Bytes names = file.view(table.offset, table.size, "section name table");
  for (Section& s : sections)
    if (s.type != SHT_NULL) s.name = string_at(names, s.name_offset, "section name", table.offset);
}

}  // namespace

void fail_expected(const std::string& what, std::uint64_t expected, std::uint64_t found, std::uint64_t at) {
  throw ParseError(what + ": expected " + std::to_string(expected) + ", found " + std::to_string(found), at);
}

std::string string_at(Bytes table, std::uint64_t offset, const char* what, std::uint64_t where) {
  if (offset >= table.size())
    throw ParseError(std::string(what) + ": offset " + hex(offset) + " lies outside its string table of " +
                         hex(table.size()) + " bytes",
                     where);
  const auto* first = reinterpret_cast<const char*>(table.data() + offset);  // characters, not integers
  const std::size_t room = table.size() - static_cast<std::size_t>(offset);
  const std::size_t length = ::strnlen(first, std::min(room, kMaxName));
  if (length == room) throw ParseError(std::string(what) + ": string has no end in its table", where + offset);
  return {first, length};
}

std::optional<std::uint64_t> Elf::vaddr_to_offset(std::uint64_t vaddr, std::uint64_t size) const noexcept {
  for (const Segment& s : segments)
    if (s.type == PT_LOAD && vaddr >= s.vaddr && inside(vaddr - s.vaddr, size, s.filesz))
      return s.offset + (vaddr - s.vaddr);
  return std::nullopt;
}

std::optional<std::uint64_t> Elf::offset_to_vaddr(std::uint64_t offset, std::uint64_t size) const noexcept {
  for (const Segment& s : segments)
    if (s.type == PT_LOAD && offset >= s.offset && inside(offset - s.offset, size, s.filesz))
      return s.vaddr + (offset - s.offset);
  return std::nullopt;
}

std::uint64_t Elf::mapped_offset(std::uint64_t vaddr, std::uint64_t size, const char* what,
                                 std::uint64_t where) const {
  const auto offset = vaddr_to_offset(vaddr, size);
  if (!offset)
    throw ParseError(std::string(what) + ": " + std::to_string(size) + " bytes at address " + hex(vaddr) +
                         " lie in no loaded part of the file",
                     where);
  return *offset;
}

const Segment* Elf::find_segment(std::uint32_t type) const noexcept {
  const auto it = std::ranges::find(segments, type, &Segment::type);
  return it == segments.end() ? nullptr : &*it;
}

const Section* Elf::find_section(std::string_view name) const noexcept {
  const auto it = std::ranges::find(sections, name, &Section::name);
  return it == sections.end() ? nullptr : &*it;
}

Elf parse_elf(const Windows& file) {
  Elf elf;
  elf.header = read_header(file);
  elf.segments = read_segments(file, elf.header);
  elf.sections = read_section_table(file, elf.header);
  read_names(file, elf.header, elf.sections);
  return elf;
}

}  // namespace shim
