#include "section_table.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <string_view>

#include "refused.hpp"

namespace shim {
namespace {

constexpr std::string_view kContainers = ".nv_fatbin";
constexpr std::string_view kRetired = "_fatbin";
constexpr std::uint32_t kRetiredNameShift = kContainers.size() - kRetired.size();
constexpr std::uint64_t kMaxContainerAlign = 4096;

}  // namespace

std::optional<SectionPlan> plan_sections(const Elf& elf) {
  const auto named = [](std::string_view name) { return [name](const Section& s) { return s.name == name; }; };
  const auto first = std::ranges::find_if(elf.sections, named(kContainers));
  if (first == elf.sections.end()) return std::nullopt;
  if (std::ranges::count_if(elf.sections, named(kContainers)) > 1)
    throw RefusedError("two sections named .nv_fatbin", elf.header.shoff);
  if (std::ranges::any_of(elf.sections, named(kRetired)))
    throw RefusedError("file was patched before (it has a section _fatbin): start from the original", elf.header.shoff);
  if (elf.header.shnum + 1 >= SHN_LORESERVE)
    throw RefusedError("no number left for another section header", elf.header.shoff);
  SectionPlan plan;
  plan.old_index = static_cast<std::uint32_t>(first - elf.sections.begin());
  plan.alignment = std::max<std::uint64_t>(first->addralign, 8);
  if (!std::has_single_bit(plan.alignment) || plan.alignment > kMaxContainerAlign)
    throw RefusedError("alignment of .nv_fatbin is " + std::to_string(first->addralign),
                       elf.header.shoff + plan.old_index * sizeof(Elf64_Shdr));
  return plan;
}

std::vector<std::byte> make_section_table(const Windows& file, const Elf& elf, const SectionPlan& plan,
                                          const ContainerPlace& place, const Cut& cut,
                                          std::optional<std::uint64_t> marker) {
  const bool retire = !marker;
  const Bytes old = file.view(elf.header.shoff, elf.header.shnum * sizeof(Elf64_Shdr), "section header table");
  std::vector<Elf64_Shdr> table;
  table.reserve(elf.header.shnum + 1);
  for (std::size_t i = 0; i < elf.header.shnum; ++i) {
    table.push_back(load<Elf64_Shdr>(old.data() + i * sizeof(Elf64_Shdr)));
    if (table.back().sh_type != SHT_NULL) table.back().sh_offset = cut.shifted(table.back().sh_offset);
  }
  Elf64_Shdr code = table[plan.old_index];
  code.sh_addr = place.vaddr;
  code.sh_offset = place.offset;
  code.sh_size = place.size;
  Elf64_Shdr retired = table[plan.old_index];
  if (retire) {
    code.sh_type = SHT_PROGBITS;
    code.sh_flags = SHF_ALLOC;
    code.sh_link = code.sh_info = 0;
    code.sh_addralign = plan.alignment;
    code.sh_entsize = 0;
  } else {
    retired = {};
    retired.sh_name = code.sh_name;
    retired.sh_type = SHT_PROGBITS;
    retired.sh_offset = *marker;
    retired.sh_size = kMarkerSize;
    retired.sh_addralign = 1;
  }
  retired.sh_name += kRetiredNameShift;
  table[plan.old_index] = retire ? retired : code;
  table.push_back(retire ? code : retired);
  const Bytes bytes = std::as_bytes(std::span(table));
  return {bytes.begin(), bytes.end()};
}

std::vector<SymbolEdit> moved_symbols(const Windows& file, const Elf& elf, const SectionPlan& plan,
                                      const std::function<bool(Elf64_Sym&)>& follow) {
  std::vector<SymbolEdit> out;
  for (const Section& section : elf.sections) {
    if (section.type != SHT_SYMTAB) continue;
    const Bytes table = file.view(section.offset, section.size, "symbol table");
    for (std::size_t pos = 0; pos + sizeof(Elf64_Sym) <= table.size(); pos += sizeof(Elf64_Sym)) {
      auto symbol = load<Elf64_Sym>(table.data() + pos);
      if (symbol.st_shndx != plan.old_index || !follow(symbol)) continue;
      if (std::memcmp(&symbol, table.data() + pos, sizeof symbol) != 0) out.push_back({section.offset + pos, symbol});
    }
  }
  return out;
}

}  // namespace shim
