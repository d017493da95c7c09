#include "elf_slots.hpp"

#include <algorithm>
#include <numeric>
#include <optional>
#include <string>

namespace shim {
namespace {

struct RelocationTypes {
  std::uint64_t relative;
  std::uint64_t absolute;
  std::uint64_t global_data;
};

RelocationTypes types_of(std::uint16_t machine) {
  if (machine == EM_AARCH64) return {R_AARCH64_RELATIVE, R_AARCH64_ABS64, R_AARCH64_GLOB_DAT};
  return {R_X86_64_RELATIVE, R_X86_64_64, R_X86_64_GLOB_DAT};
}

struct Found {
  Elf64_Rela record{};
  std::uint64_t offset = 0;  // of the record, in the file
};

// Slot addresses in ascending order, so that one pass over a table of any size finds all of them.
class SlotIndex {
 public:
  explicit SlotIndex(std::span<const std::uint64_t> slots) : slots_(slots), order_(slots.size()) {
    std::iota(order_.begin(), order_.end(), std::size_t{0});
    std::ranges::sort(order_, {}, [&](std::size_t i) { return slots_[i]; });
  }

  // Calls visit(index) for each slot in [first, last].
  template <class Visit>
  void within(std::uint64_t first, std::uint64_t last, Visit visit) const {
    auto it = std::ranges::lower_bound(order_, first, {}, [&](std::size_t i) { return slots_[i]; });
    for (; it != order_.end() && slots_[*it] <= last; ++it) visit(*it);
  }

 private:
  std::span<const std::uint64_t> slots_;
  std::vector<std::size_t> order_;
};

std::vector<std::optional<Found>> find_rela(Bytes table, std::uint64_t table_offset, const SlotIndex& index,
                                            std::size_t count) {
  std::vector<std::optional<Found>> found(count);
  for (std::size_t pos = 0; pos + sizeof(Elf64_Rela) <= table.size(); pos += sizeof(Elf64_Rela)) {
    const auto record = load<Elf64_Rela>(table.data() + pos);
    index.within(record.r_offset, record.r_offset, [&](std::size_t i) {
      if (found[i]) throw ParseError("two relocations for one wrapper pointer", table_offset + pos);
      found[i] = Found{record, table_offset + pos};
    });
  }
  return found;
}

// DT_RELR: an even word is an address, and starts a run; an odd word is a bitmap of the 63 words that follow.
std::vector<bool> find_relr(Bytes table, const SlotIndex& index, std::span<const std::uint64_t> slots) {
  constexpr std::uint64_t word = sizeof(std::uint64_t);
  std::vector<bool> found(slots.size());
  std::uint64_t base = 0;
  for (std::size_t pos = 0; pos + word <= table.size(); pos += word) {
    const auto entry = load<std::uint64_t>(table.data() + pos);
    if ((entry & 1) == 0) {
      index.within(entry, entry, [&](std::size_t i) { found[i] = true; });
      base = entry + word;
    } else {
      index.within(base, base + 63 * word - 1, [&](std::size_t i) {
        const std::uint64_t distance = slots[i] - base;
        if (distance % word == 0 && ((entry >> (distance / word + 1)) & 1) != 0) found[i] = true;
      });
      base += 63 * word;
    }
  }
  return found;
}

std::uint64_t dynamic_symbol(const Windows& file, const ElfDynamic& dynamic, const Found& found) {
  const std::uint64_t number = ELF64_R_SYM(found.record.r_info);
  if (dynamic.symtab == 0) throw ParseError("relocation names a symbol, but there is no symbol table", found.offset);
  const std::uint64_t at =
      checked_add(dynamic.symtab, checked_mul(number, sizeof(Elf64_Sym), found.offset), found.offset);
  const auto symbol = file.at<Elf64_Sym>(at, "symbol of a relocation");
  if (symbol.st_shndx == SHN_UNDEF)
    throw ParseError("wrapper pointer names symbol " + std::to_string(number) + ", which another library defines",
                     found.offset);
  return symbol.st_value;
}

ResolvedSlot from_rela(const Windows& file, const ElfDynamic& dynamic, const RelocationTypes& types,
                       const Found& found) {
  const std::uint64_t type = ELF64_R_TYPE(found.record.r_info);
  const auto addend = static_cast<std::uint64_t>(found.record.r_addend);
  if (type == types.relative) return {addend, SlotKind::Rela, found.offset};
  if (type == types.absolute || type == types.global_data)
    return {dynamic_symbol(file, dynamic, found) + addend, SlotKind::Symbol, found.offset};
  throw ParseError("relocation type " + std::to_string(type) + " for a wrapper pointer is no plain address",
                   found.offset);
}

std::uint64_t object_symbol_section(const Windows& file, const Elf& elf, std::uint32_t symtab_index,
                                    std::uint64_t number, std::uint16_t shndx, std::uint64_t where) {
  if (shndx != SHN_XINDEX) return shndx;
  for (const Section& s : elf.sections)
    if (s.type == SHT_SYMTAB_SHNDX && s.link == symtab_index && inside(number * 4, 4, s.size))
      return file.at<std::uint32_t>(s.offset + number * 4, "extended section number of a symbol");
  throw ParseError("symbol without a section number", where);
}

// File offsets of the slots, and their bytes in one piece when they stand close together, as wrappers in their
// section do: a streaming reader then fetches once instead of once a slot.
std::vector<std::uint64_t> slot_offsets_of(const Windows& file, const Elf& elf, std::span<const std::uint64_t> vaddrs) {
  constexpr std::uint64_t close_together = 16ULL << 20;
  std::vector<std::uint64_t> out;
  out.reserve(vaddrs.size());
  for (const std::uint64_t vaddr : vaddrs)
    out.push_back(elf.mapped_offset(vaddr, sizeof(std::uint64_t), "wrapper pointer", 0));
  if (out.empty()) return out;
  const auto [low, high] = std::ranges::minmax(out);
  const std::uint64_t span = high - low + sizeof(std::uint64_t);
  if (span <= close_together) file.view(low, span, "wrapper pointers");
  return out;
}

}  // namespace

const char* slot_kind_name(SlotKind kind) noexcept {
  switch (kind) {
    case SlotKind::Rela: return "rela";
    case SlotKind::Relr: return "relr";
    case SlotKind::InPlace: return "in-place";
    case SlotKind::Symbol: return "symbol";
  }
  return "";
}

std::vector<ResolvedSlot> resolve_slots(const Windows& file, const Elf& elf, const ElfDynamic& dynamic,
                                        std::span<const std::uint64_t> slot_vaddrs) {
  const auto offsets = slot_offsets_of(file, elf, slot_vaddrs);
  const SlotIndex index(slot_vaddrs);
  const Bytes rela = view_table(file, dynamic.rela, "relocation table");
  const Bytes relr = view_table(file, dynamic.relr, "packed relocation table");
  const auto found = find_rela(rela, dynamic.rela.offset, index, slot_vaddrs.size());
  const auto packed = find_relr(relr, index, slot_vaddrs);
  const RelocationTypes types = types_of(elf.header.machine);
  std::vector<ResolvedSlot> out;
  out.reserve(slot_vaddrs.size());
  for (std::size_t i = 0; i < slot_vaddrs.size(); ++i) {
    if (found[i]) {
      out.push_back(from_rela(file, dynamic, types, *found[i]));
      continue;
    }
    if (!packed[i] && dynamic.android_packed)
      throw ParseError("relocations are in Android's packed format, so the wrapper pointer is unknown", offsets[i]);
    const auto value = file.at<std::uint64_t>(offsets[i], "wrapper pointer");
    out.push_back({value, packed[i] ? SlotKind::Relr : SlotKind::InPlace, 0});
  }
  return out;
}

std::vector<ObjectSlot> resolve_object_slots(const Windows& file, const Elf& elf, std::uint32_t section,
                                             std::span<const std::uint64_t> slot_offsets) {
  const auto table = std::ranges::find_if(
      elf.sections, [&](const Section& s) { return s.type == SHT_RELA && s.info == section; });
  if (table == elf.sections.end())
    throw ParseError("object file has no relocations for its wrappers", elf.header.shoff);
  if (table->link >= elf.sections.size() || elf.sections[table->link].type != SHT_SYMTAB)
    throw ParseError("relocation section without a symbol table", table->offset);
  const Section& symtab = elf.sections[table->link];
  if (table->size > kElfTableLimit) throw ParseError("relocation section: too large", table->offset);
  const Bytes bytes = file.view(table->offset, table->size, "relocation section");
  const auto found = find_rela(bytes, table->offset, SlotIndex(slot_offsets),
                               slot_offsets.size());
  const std::uint64_t absolute = types_of(elf.header.machine).absolute;
  std::vector<ObjectSlot> out;
  out.reserve(slot_offsets.size());
  for (const auto& slot : found) {
    if (!slot) throw ParseError("wrapper pointer without a relocation in an object file", table->offset);
    if (ELF64_R_TYPE(slot->record.r_info) != absolute)
      fail_expected("relocation type of a wrapper pointer", absolute, ELF64_R_TYPE(slot->record.r_info), slot->offset);
    const std::uint64_t number = ELF64_R_SYM(slot->record.r_info);
    if (!inside(number * sizeof(Elf64_Sym), sizeof(Elf64_Sym), symtab.size))
      throw ParseError("relocation names symbol " + std::to_string(number) + ", which does not exist", slot->offset);
    const auto symbol = file.at<Elf64_Sym>(symtab.offset + number * sizeof(Elf64_Sym), "symbol of a relocation");
    const std::uint64_t target = object_symbol_section(file, elf, table->link, number, symbol.st_shndx, slot->offset);
    if (target == SHN_UNDEF || target >= elf.sections.size())
      throw ParseError("wrapper pointer names section " + std::to_string(target) + ", which does not exist",
                       slot->offset);
    out.push_back({static_cast<std::uint32_t>(target),
                   symbol.st_value + static_cast<std::uint64_t>(slot->record.r_addend)});
  }
  return out;
}

}  // namespace shim
