#include <algorithm>
#include <cstddef>
#include <unordered_map>

#include "scan.hpp"
#include "utf8.hpp"

namespace shim {

namespace {

constexpr std::string_view kWrapperSection = ".nvFatBinSegment";
constexpr std::string_view kRelocatableSection = "__nv_relfatbin";

// ".nv_fatbin" that shim has moved away from keeps its bytes under the name "_fatbin" (docs/patching.md).
bool is_code_section(std::string_view name) {
  return name == ".nv_fatbin" || name == kRelocatableSection || name == "_fatbin";
}

// A section of that name that is not loaded only tells that shim rewrote the file.
bool is_marker(const Section& s) { return s.name == "_fatbin" && (s.flags & SHF_ALLOC) == 0; }

bool has_bytes(const Section& s) { return s.type != SHT_NOBITS && s.type != SHT_NULL && s.size > 0; }

// Sections by file offset: files have up to 2^18 sections and as many containers, so both cannot be walked together.
class SectionIndex {
 public:
  explicit SectionIndex(const Elf& elf) {
    for (const Section& s : elf.sections) {
      if (has_bytes(s)) by_offset_.push_back(&s);
    }
    std::ranges::sort(by_offset_, {}, [](const Section* s) { return std::pair(s->offset, s); });
  }

  // The section that holds the byte at `offset`, or null. Where sections overlap, which no linker makes, the one that
  // starts last.
  const Section* at(std::uint64_t offset) const {
    const auto behind = std::ranges::upper_bound(by_offset_, offset, {}, &Section::offset);
    if (behind == by_offset_.begin()) return nullptr;
    const Section* s = *(behind - 1);
    return offset - s->offset < s->size ? s : nullptr;
  }

  const std::vector<const Section*>& ascending() const { return by_offset_; }

 private:
  std::vector<const Section*> by_offset_;
};

// A section of that name that has bytes in the file (debug files keep empty shells of all sections).
const Section* find_filled(const Elf& elf, std::string_view name) {
  for (const Section& s : elf.sections) {
    if (s.name == name && has_bytes(s)) return &s;
  }
  return nullptr;
}

// Was the file cut off? The section headers stand at its end, so that they are lost first; what was lost with them may
// have been GPU code. Debug files and the like are odd in other ways.
bool is_cut_off(const Windows& file) {
  constexpr std::uint64_t header_size = sizeof(Elf64_Ehdr);
  const std::uint64_t have = std::min(file.file_size(), header_size);
  if (have < EI_NIDENT + 4) return false;
  const Bytes head = file.view(0, have, "ELF header");
  const auto machine = load<std::uint16_t>(head.data() + offsetof(Elf64_Ehdr, e_machine));
  if (load<std::uint8_t>(head.data() + EI_CLASS) != ELFCLASS64) return false;
  if (machine != EM_X86_64 && machine != EM_AARCH64 && machine != kMachineCuda) return false;
  if (have < header_size) return true;
  const auto shoff = load<std::uint64_t>(head.data() + offsetof(Elf64_Ehdr, e_shoff));
  const auto count = load<std::uint16_t>(head.data() + offsetof(Elf64_Ehdr, e_shnum));
  return shoff != 0 && !inside(shoff, count * sizeof(Elf64_Shdr), file.file_size());
}

bool has_gpu_signs(const Search& search) {
  return !search.containers.empty() || !search.broken.empty() || !search.wrappers.empty();
}

FoundWrapper read_wrapper(Bytes bytes, std::uint64_t offset) {
  if (bytes.size() < kWrapperSize) {
    throw ParseError(".nvFatBinSegment: " + std::to_string(bytes.size()) + " bytes are left, a wrapper needs 24", offset);
  }
  if (load<std::uint32_t>(bytes.data()) != kWrapperMagic) {
    throw ParseError(".nvFatBinSegment: expected a 24-byte wrapper with magic 0x466243b1", offset);
  }
  const auto version = load<std::uint32_t>(bytes.data() + 4);
  if (version != 1 && version != 2) {
    throw ParseError("fatbin wrapper: expected version 1 or 2, found " + std::to_string(version), offset + 4);
  }
  return {offset, version, load<std::uint64_t>(bytes.data() + 8), load<std::uint64_t>(bytes.data() + 16)};
}

// Records of .nvFatBinSegment, found by the section. Between them there may be zeros, eight at a time.
std::vector<FoundWrapper> section_wrappers(const Windows& file, const Section& section) {
  constexpr std::size_t unit = 8;
  std::vector<FoundWrapper> found;
  if (section.size > kElfTableLimit) {
    throw ParseError(".nvFatBinSegment: " + std::to_string(section.size) + " bytes is more than the limit of " +
                         std::to_string(kElfTableLimit),
                     section.offset);
  }
  const Bytes bytes = file.view(section.offset, section.size, ".nvFatBinSegment");
  for (std::size_t at = 0; at < bytes.size();) {
    const Bytes rest = bytes.subspan(at);
    const Bytes zeros = rest.first(std::min(unit, rest.size()));
    if (std::ranges::all_of(zeros, [](std::byte b) { return b == std::byte{0}; })) {
      at += zeros.size();
      continue;
    }
    found.push_back(read_wrapper(rest, section.offset + at));
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
    const auto slot = elf.offset_to_vaddr(w.offset + 8, 8);
    if (!slot) throw ParseError("fatbin wrapper: stands in no loaded segment of the file", w.offset);
    slots.push_back(*slot);
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

void set_roles(Report& report, const SectionIndex& sections) {
  bool prelinked = false;
  for (ContainerInfo& c : report.containers) {
    const Section* s = sections.at(c.found.offset);
    if (s != nullptr && is_code_section(s->name) && !inside(c.found.offset - s->offset, c.found.size, s->size)) {
      throw ParseError(s->name + ": fatbin container of " + std::to_string(c.found.size) +
                           " bytes leaves the section of " + std::to_string(s->size),
                       c.found.offset);
    }
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
void note_unknown(Report& report, const SectionIndex& sections) {
  std::uint64_t from = 0;  // first byte that may be unknown
  for (const Section* s : sections.ascending()) {
    if (!is_code_section(s->name) || is_marker(*s)) continue;
    if (s->offset < from) throw ParseError(s->name + ": overlaps another device-code section", s->offset);
    from = s->offset;
    const std::uint64_t end = s->offset + s->size;
    const auto add = [&](std::uint64_t to) {
      if (from < to) report.unknown.push_back({from, to - from, s->name});
    };
    auto c = std::ranges::lower_bound(report.containers, s->offset, {}, [](const auto& one) { return one.found.offset; });
    if (c != report.containers.begin() && (c - 1)->found.offset + (c - 1)->found.size > s->offset) {
      throw ParseError(s->name + ": starts inside a fatbin container", (c - 1)->found.offset);
    }
    for (; c != report.containers.end() && c->found.offset < end; ++c) {
      add(std::min(c->found.zeros_before, c->found.offset));
      from = std::max(c->found.first_nonzero_after, c->found.offset + c->found.size);
    }
    add(end);
    from = end;
  }
}

void check_broken(const Search& search, const SectionIndex& sections) {
  for (const BrokenContainer& b : search.broken) {
    const Section* s = sections.at(b.offset);
    if (s != nullptr && is_code_section(s->name)) throw ParseError(s->name + ": " + b.what, b.at);
  }
}

void resolve_wrappers(const Windows& file, const Elf& elf, const ElfDynamic& dynamic, const Search& search,
                      Report& report) {
  const Section* section = find_filled(elf, kWrapperSection);
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
    if (has_gpu_signs(search) || is_cut_off(file)) throw;
    report = std::move(next);
    return;
  }
  const SectionIndex sections(elf);
  check_broken(search, sections);
  next.machine = elf.header.machine;
  next.elf_type = elf.header.type;
  next.needed = dynamic.needed;
  next.soname = dynamic.soname;
  next.glibc = dynamic.glibc;
  std::ranges::for_each(next.needed, make_utf8);
  make_utf8(next.soname);
  resolve_wrappers(file, elf, dynamic, search, next);
  set_roles(next, sections);
  note_unknown(next, sections);
  for (LooseInfo& loose : next.loose) {
    const Section* s = sections.at(loose.offset);
    loose.section = s != nullptr ? s->name : "";
    make_utf8(loose.section);
  }
  for (ContainerInfo& c : next.containers) make_utf8(c.section);
  report = std::move(next);
}

}  // namespace shim
