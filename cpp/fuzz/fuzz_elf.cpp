// ELF headers, dynamic section and relocated pointers: over a mapping, and over windows that hold only what was asked for.
#include "fuzz.hpp"

namespace shim::fuzz {
namespace {

// Pointers worth resolving: the data slots of up to 64 wrapper records in the section that names them.
std::vector<std::uint64_t> slots_of(const Elf& elf) {
  std::vector<std::uint64_t> slots;
  const Section* s = elf.find_section(".nvFatBinSegment");
  if (s == nullptr) return slots;
  const std::uint64_t base = elf.header.type == ET_REL ? 0 : s->addr;
  for (std::uint64_t at = 8; at < s->size && slots.size() < 64; at += 24) slots.push_back(base + at);
  return slots;
}

std::string read(const Windows& file) {
  const Elf elf = parse_elf(file);
  std::string out;
  add(out, elf.header.phnum);
  for (const Segment& s : elf.segments) {
    add(out, s.offset);
    if (s.type != PT_LOAD || s.filesz == 0) continue;
    const auto back = elf.vaddr_to_offset(s.vaddr, s.filesz);
    check(back && inside(*back, s.filesz, file.file_size()), "a loaded segment is found by its address");
    check(elf.offset_to_vaddr(s.offset, s.filesz).has_value(), "a loaded segment is found by its offset");
  }
  for (const Section& s : elf.sections) {
    add(out, s.name);
    check(s.type == SHT_NOBITS || s.type == SHT_NULL || inside(s.offset, s.size, file.file_size()), "section inside the file");
  }
  const ElfDynamic dynamic = read_dynamic(file, elf);
  for (const std::string& name : dynamic.needed) add(out, name);
  add(out, dynamic.soname);
  const auto slots = slots_of(elf);
  if (elf.header.type != ET_REL) {
    for (const ResolvedSlot& slot : resolve_slots(file, elf, dynamic, slots)) {
      add(out, slot.target);
      add(out, unsigned(slot.how));
    }
  } else if (!slots.empty()) {
    const auto index = static_cast<std::uint32_t>(elf.find_section(".nvFatBinSegment") - elf.sections.data());
    for (const ObjectSlot& slot : resolve_object_slots(file, elf, index, slots)) {
      check(slot.section < elf.sections.size(), "slot points into a section");
      add(out, slot.section);
      add(out, slot.offset);
    }
  }
  return out;
}

std::string read_all(const Windows& file) {
  try {
    return read(file);
  } catch (const ParseError& e) {
    return describe(e);
  }
}

std::string read_on_demand(Bytes file) {
  Windows windows(file.size());
  for (unsigned fetches = 0;; ++fetches) {
    check(fetches < 4096, "the reader asks for ranges without end");
    try {
      return read_all(windows);
    } catch (const MissingRange& missing) {
      check(inside(missing.offset, missing.size, file.size()), "a range outside the file is asked for");
      windows.add(missing.offset, file.subspan(missing.offset, missing.size));
    }
  }
}

}  // namespace
}  // namespace shim::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace shim::fuzz;
  const shim::Bytes file(reinterpret_cast<const std::byte*>(data), size);
  check(read_all(shim::Windows::whole(file)) == read_on_demand(file), "windows give what a mapping gives");
  return 0;
}
