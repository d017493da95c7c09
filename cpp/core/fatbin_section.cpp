#include "fatbin_section.hpp"

#include <algorithm>
#include <string>

#include "refused.hpp"

namespace shim {
namespace {

struct FileRange {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;

  bool meets(std::uint64_t offset, std::uint64_t size) const noexcept {
    return size != 0 && offset < end && (offset >= begin || size > begin - offset);
  }
};

bool in_file(const Section& s) { return s.type != SHT_NULL && s.type != SHT_NOBITS && s.size != 0; }

// Number of a segment (other than `but`) with bytes there, or the count of segments.
std::size_t segment_in(const Elf& elf, const FileRange& range, std::size_t but) {
  for (std::size_t i = 0; i < elf.segments.size(); ++i) {
    const Segment& s = elf.segments[i];
    if (i != but && s.type != PT_NULL && range.meets(s.offset, s.filesz)) return i;
  }
  return elf.segments.size();
}

std::size_t section_in(const Elf& elf, const FileRange& range, std::size_t but) {
  for (std::size_t i = 0; i < elf.sections.size(); ++i)
    if (i != but && in_file(elf.sections[i]) && range.meets(elf.sections[i].offset, elf.sections[i].size)) return i;
  return elf.sections.size();
}

}  // namespace

std::size_t segment_of_section(const Windows& file, const Elf& elf, std::uint32_t index) {
  const Section& section = elf.sections[index];
  const std::uint64_t at = elf.header.shoff + index * sizeof(Elf64_Shdr);
  if (section.type != SHT_PROGBITS || (section.flags & SHF_ALLOC) == 0 || section.size == 0)
    throw RefusedError("section .nv_fatbin is no loaded data", at);
  const auto it = std::ranges::find_if(elf.segments, [&](const Segment& s) {
    return s.type == PT_LOAD && section.offset >= s.offset &&
           inside(section.offset - s.offset, section.size, s.filesz) &&
           section.addr - s.vaddr == section.offset - s.offset;
  });
  if (it == elf.segments.end()) throw RefusedError("section .nv_fatbin is in no loaded segment", at);
  const auto segment = static_cast<std::size_t>(it - elf.segments.begin());
  const FileRange range{section.offset, section.offset + section.size};
  if (const std::size_t other = segment_in(elf, range, segment); other != elf.segments.size())
    throw RefusedError("segment " + std::to_string(other) + " has bytes in section .nv_fatbin", at);
  if (const std::size_t other = section_in(elf, range, index); other != elf.sections.size())
    throw RefusedError("section " + std::to_string(other) + " has bytes in section .nv_fatbin", at);
  const auto header = file.at<Elf64_Ehdr>(0, "ELF header");
  if (range.meets(0, sizeof(Elf64_Ehdr)) || range.meets(header.e_phoff, elf.header.phnum * sizeof(Elf64_Phdr)) ||
      range.meets(header.e_shoff, elf.header.shnum * sizeof(Elf64_Shdr)))
    throw RefusedError("a header table stands in section .nv_fatbin", at);
  if (header.e_entry - section.addr < section.size) throw RefusedError("entry point is in section .nv_fatbin", at);
  return segment;
}

bool is_alone(const Elf& elf, std::uint64_t begin, std::uint64_t end, std::uint32_t index, std::size_t segment) {
  const FileRange range{begin, end};
  return segment_in(elf, range, segment) == elf.segments.size() &&
         section_in(elf, range, index) == elf.sections.size();
}

}  // namespace shim
