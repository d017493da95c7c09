#include "program_table.hpp"

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
constexpr std::uint64_t kMaxNotes = 1ULL << 26;  // bytes of a note segment that are looked through

bool notes_may_go(const Windows& file, const Segment& segment) {
  if (segment.filesz > kMaxNotes) return false;
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

constexpr std::uint64_t kFlagPie = 0x08000000;   // DF_1_PIE

bool holds_code(const Elf& elf, std::uint64_t begin, std::uint64_t end) {
  return std::ranges::any_of(elf.sections, [&](const Section& s) {
    return (s.flags & SHF_EXECINSTR) != 0 && s.addr < end && s.addr + s.size > begin;
  });
}

// The parts of a split segment, in file order.
std::vector<Elf64_Phdr> parts_of(const Elf& elf, const Elf64_Phdr& whole, const Split& split) {
  std::vector<Elf64_Phdr> parts;
  const std::uint64_t front = split.cut.offset - whole.p_offset;
  const std::uint64_t behind = split.cut.end() - whole.p_offset;
  if (split.front) {
    parts.push_back(whole);
    parts.back().p_filesz = parts.back().p_memsz = front;
  }
  if (split.back) {
    parts.push_back(whole);
    Elf64_Phdr& back = parts.back();
    back.p_offset = split.cut.offset;
    back.p_vaddr += behind;
    back.p_paddr += behind;
    back.p_filesz -= behind;
    back.p_memsz -= behind;
  }
  if ((whole.p_flags & PF_X) != 0 && holds_code(elf, whole.p_vaddr, whole.p_vaddr + whole.p_memsz))
    for (Elf64_Phdr& part : parts)
      if (!holds_code(elf, part.p_vaddr, part.p_vaddr + part.p_memsz)) part.p_flags &= ~std::uint32_t{PF_X};
  return parts;
}

}  // namespace

const char* header_slot_name(HeaderSlot slot) noexcept {
  switch (slot) {
    case HeaderSlot::None: return "none";
    case HeaderSlot::Unused: return "unused";
    case HeaderSlot::Note: return "note";
    case HeaderSlot::Moved: return "moved";
  }
  return "";
}

SlotChoice choose_slots(const Windows& file, const Elf& elf, std::size_t needed) {
  SlotChoice choice;
  const auto take = [&](HeaderSlot kind, auto fits) {
    for (std::size_t i = 0; i < elf.segments.size() && choice.taken.size() < needed; ++i) {
      if (!fits(elf.segments[i])) continue;
      choice.taken.push_back(i);
      choice.kind = kind;
    }
  };
  take(HeaderSlot::Unused, [](const Segment& s) { return s.type == PT_NULL; });
  take(HeaderSlot::Note, [&](const Segment& s) { return s.type == PT_NOTE && notes_may_go(file, s); });
  if (choice.taken.size() < needed) return {HeaderSlot::Moved, {}};
  return choice;
}

bool is_program(const Elf& elf, const ElfDynamic& dynamic) {
  return elf.header.type == ET_EXEC || elf.find_segment(PT_INTERP) != nullptr ||
         (dynamic.get(DT_FLAGS_1) & kFlagPie) != 0;
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

SegmentPlace place_segment(const Elf& elf, const ElfDynamic& dynamic, HeaderSlot slot, std::uint64_t file_end) {
  if (elf.find_segment(PT_LOAD) == nullptr) throw RefusedError("file without loaded segments", elf.header.phoff);
  SegmentPlace place;
  place.align = common_alignment(elf);
  std::uint64_t top = 0;
  for (const Segment& s : elf.segments)
    if (s.type == PT_LOAD) top = std::max(top, s.vaddr + s.memsz);
  if (top > kMaxVaddr || file_end > kMaxVaddr)
    throw RefusedError("no address left above the last segment", elf.header.phoff);
  place.offset = align_up(file_end, place.align, elf.header.phoff);
  place.vaddr = align_up(top, place.align, elf.header.phoff);
  // Loaders find a program's table through AT_PHDR, which kernels before 5.18 and qemu compute as load address + e_phoff.
  if (slot == HeaderSlot::Moved && is_program(elf, dynamic))
    throw RefusedError("program without a program header to spare: its header table does not move", elf.header.phoff);
  return place;
}

std::optional<Split> plan_cut(const Elf& elf, std::size_t segment, const Section& section, std::uint64_t from,
                              std::uint64_t align) {
  const Segment& whole = elf.segments[segment];
  const std::uint64_t distance = whole.vaddr - whole.offset;  // the ends are aligned as addresses
  const std::uint64_t section_end = section.offset + section.size;
  std::uint64_t start = align_up(from + distance, align, section.offset) - distance;
  const std::uint64_t end = (section_end + distance) / align * align - distance;
  Split split;
  split.segment = segment;
  split.back = section_end < whole.offset + whole.filesz || whole.memsz > whole.filesz;
  if (!split.back && start == whole.offset) start += align;  // something must be left of the segment
  if (start >= end || start < from || end > section_end) return std::nullopt;
  split.front = start > whole.offset && (from > whole.offset || !split.back);
  split.cut = {start, end - start};
  return split;
}

std::vector<std::byte> make_program_headers(const Windows& file, const Elf& elf, const ProgramPlan& plan) {
  const Bytes old = file.view(elf.header.phoff, elf.header.phnum * sizeof(Elf64_Phdr), "program header table");
  std::vector<Elf64_Phdr> table;
  std::size_t after_last_load = 0;
  for (std::size_t i = 0; i < elf.header.phnum; ++i) {
    if (std::ranges::find(plan.slots.taken, i) != plan.slots.taken.end()) continue;
    auto header = load<Elf64_Phdr>(old.data() + i * sizeof(Elf64_Phdr));
    if (plan.split && i == plan.split->segment) {
      const auto parts = parts_of(elf, header, *plan.split);
      table.insert(table.end(), parts.begin(), parts.end());
    } else {
      if (plan.split) header.p_offset = plan.split->cut.shifted(header.p_offset);
      table.push_back(header);
    }
    if (table.back().p_type == PT_LOAD) after_last_load = table.size();
  }
  if (plan.added)
    table.insert(table.begin() + static_cast<std::ptrdiff_t>(after_last_load),
                 Elf64_Phdr{PT_LOAD, PF_R, plan.added->offset, plan.added->vaddr, plan.added->vaddr, plan.added_size,
                            plan.added_size, plan.added->align});
  const std::uint64_t size = table.size() * sizeof(Elf64_Phdr);
  for (Elf64_Phdr& p : table)
    if (p.p_type == PT_PHDR && plan.slots.kind == HeaderSlot::Moved)
      p = {PT_PHDR, p.p_flags, plan.table_offset, plan.table_vaddr, plan.table_vaddr, size, size, p.p_align};
  const Bytes bytes = std::as_bytes(std::span(table));
  return {bytes.begin(), bytes.end()};
}

}  // namespace shim
