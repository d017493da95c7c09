#include <algorithm>
#include <unordered_map>

#include "scan.hpp"

namespace shim {

namespace {

constexpr std::string_view kWrapperSection = ".nvFatBinSegment";
constexpr std::string_view kRelocatableSection = "__nv_relfatbin";

// ".nv_fatbin" that shim has moved away from keeps its bytes under the name "_fatbin" (docs/patching.md).
bool is_code_section(std::string_view name) {
  return name == ".nv_fatbin" || name == kRelocatableSection || name == "_fatbin";
}

const Section* section_at(const Elf& elf, std::uint64_t offset) {
  for (const Section& s : elf.sections) {
    if (s.type != SHT_NOBITS && s.type != SHT_NULL && offset >= s.offset && offset - s.offset < s.size) return &s;
  }
  return nullptr;
}

bool has_gpu_signs(const Search& search) {
  return !search.containers.empty() || !search.broken.empty() || !search.wrappers.empty();
}

// Records of .nvFatBinSegment, found by the section; stops at anything that is neither a record nor padding.
std::vector<FoundWrapper> section_wrappers(const Windows& file, const Section& section) {
  std::vector<FoundWrapper> found;
  const Bytes bytes = file.view(section.offset, section.size, ".nvFatBinSegment");
  std::size_t at = 0;
  while (at + 8 <= bytes.size()) {
    const auto magic = load<std::uint32_t>(bytes.data() + at);
    if (magic == 0) {
      at += 8;
      continue;
    }
    const std::uint64_t offset = section.offset + at;
    if (magic != kWrapperMagic || at + kWrapperSize > bytes.size()) {
      throw ParseError(".nvFatBinSegment: expected a 24-byte wrapper with magic 0x466243b1", offset);
    }
    found.push_back({offset, load<std::uint32_t>(bytes.data() + at + 4), load<std::uint64_t>(bytes.data() + at + 8),
                     load<std::uint64_t>(bytes.data() + at + 16)});
    at += kWrapperSize;
  }
  return found;
}

struct Target {
  std::uint64_t offset;
  SlotKind how;
};

std::vector<Target> object_targets(const Windows& file, const Elf& elf, const Section& section,
                                   const std::vector<FoundWrapper>& wrappers) {
  std::vector<std::uint64_t> slots;
  for (const FoundWrapper& w : wrappers) slots.push_back(w.offset + 8 - section.offset);
  const auto index = static_cast<std::uint32_t>(&section - elf.sections.data());
  std::vector<Target> targets;
  for (const ObjectSlot& slot : resolve_object_slots(file, elf, index, slots)) {
    targets.push_back({checked_add(elf.sections.at(slot.section).offset, slot.offset, section.offset), SlotKind::Symbol});
  }
  return targets;
}

std::vector<Target> linked_targets(const Windows& file, const Elf& elf, const ElfDynamic& dynamic,
                                   const std::vector<FoundWrapper>& wrappers, bool certain) {
  std::vector<std::uint64_t> slots;
  for (const FoundWrapper& w : wrappers) {
    slots.push_back(elf.offset_to_vaddr(w.offset + 8, 8).value_or(0));
  }
  std::vector<Target> targets;
  const auto resolved = resolve_slots(file, elf, dynamic, slots);
  for (std::size_t i = 0; i < resolved.size(); ++i) {
    const auto offset = elf.vaddr_to_offset(resolved[i].target, kContainerHeaderSize);
    if (!offset && certain) {
      throw ParseError("fatbin wrapper: its data pointer leads outside the file's segments", wrappers[i].offset);
    }
    targets.push_back({offset.value_or(UINT64_MAX), resolved[i].how});
  }
  return targets;
}

// Wrappers without a section that names them (stripped of section headers): the candidates that lie in loaded data.
std::vector<FoundWrapper> mapped_candidates(const Elf& elf, const Search& search) {
  std::vector<FoundWrapper> kept;
  for (const FoundWrapper& w : search.wrappers) {
    if (elf.offset_to_vaddr(w.offset, kWrapperSize)) kept.push_back(w);
  }
  return kept;
}

[[noreturn]] void fail_target(const Search& search, const FoundWrapper& wrapper, std::uint64_t target) {
  for (const BrokenContainer& b : search.broken) {
    if (b.offset == target) throw ParseError(b.what, b.at);
  }
  throw ParseError("fatbin wrapper: points at file offset " + std::to_string(target) +
                       ", where no fatbin container (magic 0xba55ed50) stands",
                   wrapper.offset);
}

void set_roles(Report& report, const Elf& elf) {
  bool prelinked = false;
  for (ContainerInfo& c : report.containers) {
    const Section* s = section_at(elf, c.found.offset);
    c.section = s != nullptr ? s->name : "";
    c.role = !report.wrappers.empty() && is_code_section(c.section) ? Role::kUnreferenced : Role::kEmbedded;
  }
  for (const WrapperInfo& w : report.wrappers) {
    if (w.version != 1) continue;
    ContainerInfo& c = report.containers[w.container];
    c.role = c.section == kRelocatableSection ? Role::kPrelinked : Role::kWhole;
    prelinked = prelinked || c.role == Role::kPrelinked;
  }
  for (const WrapperInfo& w : report.wrappers) {
    if (w.version != 1) report.containers[w.container].role = prelinked ? Role::kLinked : Role::kStub;
  }
}

// Bytes of device-code sections that are neither image nor zero padding. Containers are in ascending order.
void note_unknown(Report& report, const Elf& elf) {
  for (const Section& s : elf.sections) {
    if (!is_code_section(s.name) || s.type == SHT_NOBITS || s.size == 0) continue;
    const std::uint64_t end = s.offset + s.size;
    std::uint64_t from = s.offset;  // first byte that may be unknown
    const auto add = [&](std::uint64_t to) {
      if (from < to) report.unknown.push_back({from, to - from, s.name});
    };
    for (const ContainerInfo& c : report.containers) {
      if (c.found.offset < s.offset || c.found.offset >= end) continue;
      add(std::min(c.found.zeros_before, c.found.offset));
      from = std::max(c.found.first_nonzero_after, c.found.offset + c.found.size);
    }
    add(end);
  }
}

void check_broken(const Search& search, const Elf& elf) {
  for (const BrokenContainer& b : search.broken) {
    const Section* s = section_at(elf, b.offset);
    if (s != nullptr && is_code_section(s->name)) throw ParseError(s->name + ": " + b.what, b.at);
  }
}

void resolve_wrappers(const Windows& file, const Elf& elf, const ElfDynamic& dynamic, const Search& search,
                      Report& report) {
  const Section* section = elf.find_section(kWrapperSection);
  const auto wrappers = section != nullptr ? section_wrappers(file, *section) : mapped_candidates(elf, search);
  if (wrappers.empty()) return;
  const auto targets = elf.header.type == ET_REL && section != nullptr
                           ? object_targets(file, elf, *section, wrappers)
                           : linked_targets(file, elf, dynamic, wrappers, section != nullptr);
  std::unordered_map<std::uint64_t, std::size_t> by_offset;
  for (std::size_t i = 0; i < report.containers.size(); ++i) by_offset.emplace(report.containers[i].found.offset, i);
  for (std::size_t i = 0; i < wrappers.size(); ++i) {
    const auto hit = by_offset.find(targets[i].offset);
    if (hit != by_offset.end()) {
      report.wrappers.push_back(
          {wrappers[i].offset, wrappers[i].version, targets[i].how, targets[i].offset, hit->second});
    } else if (section != nullptr) {
      fail_target(search, wrappers[i], targets[i].offset);
    }
  }
}

}  // namespace

void resolve_elf(const Windows& file, const Search& search, Report& report) {
  Report next = report;
  next.containers.clear();
  for (const FoundContainer& c : search.containers) next.containers.push_back({c, Role::kEmbedded, ""});
  Elf elf;
  ElfDynamic dynamic;
  try {
    elf = parse_elf(file);
    dynamic = read_dynamic(file, elf);
  } catch (const ParseError&) {
    // Odd files without GPU code are common in wheels (test data, debug files); nothing is wanted from them.
    if (has_gpu_signs(search)) throw;
    report = std::move(next);
    return;
  }
  check_broken(search, elf);
  next.machine = elf.header.machine;
  next.elf_type = elf.header.type;
  next.needed = dynamic.needed;
  next.soname = dynamic.soname;
  next.glibc = dynamic.glibc;
  resolve_wrappers(file, elf, dynamic, search, next);
  set_roles(next, elf);
  note_unknown(next, elf);
  for (LooseInfo& loose : next.loose) {
    const Section* s = section_at(elf, loose.offset);
    loose.section = s != nullptr ? s->name : "";
  }
  report = std::move(next);
}

}  // namespace shim
