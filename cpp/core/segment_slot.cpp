#include "segment_slot.hpp"

#include <algorithm>
#include <bit>
#include <string_view>

#include "refused.hpp"

namespace shim {
namespace {

constexpr std::uint32_t kNoteBuildId = 3;     // NT_GNU_BUILD_ID
constexpr std::uint32_t kNoteProperties = 5;  // NT_GNU_PROPERTY_TYPE_0
constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kMaxAlign = 1ULL << 26;
constexpr std::uint64_t kMaxVaddr = 1ULL << 47;  // user space of x86-64 and of aarch64 with the least address bits
constexpr std::uint64_t kMaxHole = 1ULL << 26;   // bytes of zeros that keep an executable's headers where AT_PHDR says

bool notes_may_go(const Windows& file, const Segment& segment) {
  if (segment.filesz > kMaxHole) return false;
  const Bytes notes = file.view(segment.offset, segment.filesz, "notes");
  const std::uint64_t align = segment.align == 8 ? 8 : 4;
  std::uint64_t pos = 0;
  while (pos < notes.size()) {
    if (!inside(pos, sizeof(Elf64_Nhdr), notes.size())) return false;
    const auto note = load<Elf64_Nhdr>(notes.data() + pos);
    const std::uint64_t name = pos + sizeof(Elf64_Nhdr);
    const std::uint64_t text = align_up(name + note.n_namesz, align, segment.offset);
    if (!inside(name, note.n_namesz, notes.size()) || !inside(text, note.n_descsz, notes.size())) return false;
    const std::string_view owner(reinterpret_cast<const char*>(notes.data() + name), note.n_namesz);
    if (owner.starts_with("GNU") && (note.n_type == kNoteBuildId || note.n_type == kNoteProperties)) return false;
    pos = align_up(text + note.n_descsz, align, segment.offset);
  }
  return true;
}

std::uint64_t common_alignment(const Elf& elf) {
  std::uint64_t align = kPage;
  for (std::size_t i = 0; i < elf.segments.size(); ++i) {
    const Segment& s = elf.segments[i];
    if (s.type != PT_LOAD) continue;
    const std::uint64_t at = elf.header.phoff + i * sizeof(Elf64_Phdr);
    if (s.align > 1 && (!std::has_single_bit(s.align) || s.align > kMaxAlign))
      throw RefusedError("segment alignment " + std::to_string(s.align) + " is no power of two up to 64 MiB", at);
    if (s.align > 1 && (s.vaddr - s.offset) % s.align != 0)
      throw RefusedError("segment " + std::to_string(i) + ": address and file offset disagree modulo its alignment",
                         at);
    align = std::max(align, s.align);
  }
  return align;
}

}  // namespace

const char* header_slot_name(HeaderSlot slot) noexcept {
  switch (slot) {
    case HeaderSlot::Unused: return "unused";
    case HeaderSlot::Note: return "note";
    case HeaderSlot::Moved: return "moved";
  }
  return "";
}

SlotChoice choose_slot(const Windows& file, const Elf& elf) {
  for (std::size_t i = 0; i < elf.segments.size(); ++i)
    if (elf.segments[i].type == PT_NULL) return {HeaderSlot::Unused, i};
  for (std::size_t i = 0; i < elf.segments.size(); ++i)
    if (elf.segments[i].type == PT_NOTE && notes_may_go(file, elf.segments[i])) return {HeaderSlot::Note, i};
  return {HeaderSlot::Moved, 0};
}

SegmentPlace place_segment(const Windows& file, const Elf& elf, HeaderSlot slot) {
  const Segment* first = elf.find_segment(PT_LOAD);
  if (first == nullptr) throw RefusedError("file without loaded segments", elf.header.phoff);
  SegmentPlace place;
  place.align = common_alignment(elf);
  std::uint64_t top = 0;
  for (const Segment& s : elf.segments)
    if (s.type == PT_LOAD) top = std::max(top, s.vaddr + s.memsz);
  if (top > kMaxVaddr || file.file_size() > kMaxVaddr)
    throw RefusedError("no address left above the last segment", elf.header.phoff);
  place.offset = align_up(file.file_size(), place.align, elf.header.phoff);
  place.vaddr = align_up(top, place.align, elf.header.phoff);
  if (slot == HeaderSlot::Moved && elf.header.type == ET_EXEC)
    throw RefusedError("executable at a fixed address without a program header to spare: its header table cannot move",
                       elf.header.phoff);
  if (slot != HeaderSlot::Moved || elf.find_segment(PT_INTERP) == nullptr) return place;
  // A program: kernels before 5.18 compute AT_PHDR as load address + e_phoff, so the distance between addresses and
  // file offsets must be that of the first segment.
  const std::uint64_t distance = first->vaddr - first->offset;
  const std::uint64_t offset = align_up(std::max(place.offset, top - std::min(top, distance)), place.align, 0);
  if (distance % place.align != 0 || distance > kMaxVaddr || offset - place.offset > kMaxHole)
    throw RefusedError("program whose header table cannot move: addresses and file offsets differ too much",
                       elf.header.phoff);
  place.offset = offset;
  place.vaddr = offset + distance;
  return place;
}

std::vector<std::byte> make_program_headers(const Windows& file, const Elf& elf, const SlotChoice& slot,
                                            const SegmentPlace& place, std::uint64_t size) {
  const Bytes old = file.view(elf.header.phoff, elf.header.phnum * sizeof(Elf64_Phdr), "program header table");
  std::vector<Elf64_Phdr> table;
  std::size_t after_last_load = 0;
  for (std::size_t i = 0; i < elf.header.phnum; ++i) {
    if (slot.kind != HeaderSlot::Moved && i == slot.index) continue;
    table.push_back(load<Elf64_Phdr>(old.data() + i * sizeof(Elf64_Phdr)));
    if (table.back().p_type == PT_LOAD) after_last_load = table.size();
  }
  const std::uint64_t table_size = (table.size() + 1) * sizeof(Elf64_Phdr);
  for (Elf64_Phdr& p : table)
    if (p.p_type == PT_PHDR && slot.kind == HeaderSlot::Moved)
      p = {PT_PHDR, p.p_flags, place.offset, place.vaddr, place.vaddr, table_size, table_size, p.p_align};
  table.insert(table.begin() + static_cast<std::ptrdiff_t>(after_last_load),
               Elf64_Phdr{PT_LOAD, PF_R, place.offset, place.vaddr, place.vaddr, size, size, place.align});
  const Bytes bytes = std::as_bytes(std::span(table));
  return {bytes.begin(), bytes.end()};
}

}  // namespace shim
