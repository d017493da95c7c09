#include "rewrite.hpp"

#include <algorithm>
#include <optional>
#include <set>
#include <stdexcept>
#include <utility>

#include "fatbin_section.hpp"
#include "references.hpp"
#include "section_table.hpp"

namespace shim {
namespace {

constexpr std::uint64_t kAlignWithoutSection = 256;  // what aarch64 sections ask for; x86-64 ones ask for 8
constexpr std::uint64_t kTableAlign = 8;             // of header tables
constexpr std::uint64_t kWorthMoving = 64ULL << 10;  // bytes a cut must save to pay for a file that strip damages

struct Write {
  std::uint64_t offset = 0;  // in the new file
  std::vector<std::byte> bytes;
};

template <class T>
std::vector<std::byte> bytes_of(const T& value) {
  const Bytes bytes = std::as_bytes(std::span(&value, 1));
  return {bytes.begin(), bytes.end()};
}

void check_supported(const Elf& elf, const ElfDynamic& dynamic) {
  if (elf.header.type == ET_REL)
    throw RefusedError("unlinked object file: link it first", offsetof(Elf64_Ehdr, e_type));
  if (dynamic.android_packed)
    throw RefusedError("relocations are in Android's packed format", elf.header.phoff);
}

class Rewriter {
 public:
  Rewriter(const SourceFile& source, std::span<const ContainerEdit> edits, Layout layout)
      : source_(source),
        edits_(edits),
        layout_(layout),
        file_(Windows::whole(source.bytes())),
        elf_(parse_elf(file_)),
        dynamic_(read_dynamic(file_, elf_)) {
    check_supported(elf_, dynamic_);
    resolve_edits();
    sections_ = plan_sections(elf_);
    switch (layout_) {
      case Layout::Append: plan_append(); break;
      case Layout::Repack: plan_repack(); break;
      case Layout::Move: plan_move(); break;
    }
    point_wrappers();
    edit_tables();
  }

  RewriteResult write(const std::string& output) {
    RewriteResult result;
    result.layout = layout_;
    result.original_size = source_.size();
    result.size = end_;
    if (program_.added) {
      result.segment_offset = program_.added->offset;
      result.segment_vaddr = program_.added->vaddr;
    }
    result.containers.resize(edits_.size());
    for (const Placed& placed : arena_->containers()) {
      if (placed.edit)
        result.containers[*placed.edit] = placed.offset;
      else
        result.moved.emplace_back(placed.old_offset, placed.offset);
    }
    result.slot = program_.slots.kind;
    result.strip_unsafe = result.slot == HeaderSlot::Moved || !sections_;
    result.cut = cut_.size;
    result.old = account();
    NewFile out(output, source_.mode());
    for (const KeptRange& range : extents_) out.copy_at(range.at, source_, range.offset, range.size);
    arena_->write(out, source_);
    for (const Write& write : writes_) out.write_at(write.offset, write.bytes);
    out.set_size(end_);
    out.commit();
    return result;
  }

 private:
  const Section& section() const { return elf_.sections[sections_->old_index]; }
  std::uint64_t section_end() const { return section().offset + section().size; }
  std::function<void()> drop() const {
    return [this] { FileMapping::drop(source_.bytes()); };
  }

  // --- what points at the containers ---

  void resolve_edits() {
    std::vector<std::uint64_t> wrappers;
    for (const ContainerEdit& edit : edits_) {
      if (edit.wrappers.empty() && layout_ == Layout::Append) throw std::invalid_argument("edit without a wrapper");
      wrappers.insert(wrappers.end(), edit.wrappers.begin(), edit.wrappers.end());
    }
    if (edits_.empty()) throw std::invalid_argument("no edits");
    if (std::set(wrappers.begin(), wrappers.end()).size() != wrappers.size())
      throw std::invalid_argument("one wrapper in two edits");
    pointers_ = resolve_wrapper_pointers(file_, elf_, dynamic_, wrappers, drop());
    std::size_t next = 0;
    for (const ContainerEdit& edit : edits_) {
      for (std::size_t n = 0; n < edit.wrappers.size(); ++n, ++next) {
        const auto target = elf_.vaddr_to_offset(pointers_[next].now.target);
        if (target != edit.offset)
          throw std::invalid_argument("wrapper at file offset " + std::to_string(edit.wrappers[n]) +
                                      " does not lead to the container at " + std::to_string(edit.offset));
      }
    }
  }

  // Pre-linked containers (__nv_relfatbin) are told from others by their section alone, so they must stay in it.
  void check_sections() const {
    const AddressRange range{section().addr, section().addr + section().size};
    for (const WrapperPointer& pointer : pointers_)
      if (!range.contains(pointer.now.target))
        throw RefusedError("wrapper's container is not in section .nv_fatbin", pointer.offset);
  }

  // All containers of the section move: whoever knows of one must be known.
  void open_section() {
    if (!sections_)
      throw RefusedError("no section .nv_fatbin: what else stands among the containers is not known", elf_.header.shoff);
    check_sections();
    segment_ = segment_of_section(file_, elf_, sections_->old_index);
    const AddressRange range{section().addr, section().addr + section().size};
    References references = find_references(file_, elf_, dynamic_, range, drop());
    arena_ = Arena::of_section(source_, section(), edits_, drop());
    check_left_out(references);
    pointers_ = std::move(references.wrappers);
    symbols_ = std::move(references.symbols);
  }

  void check_left_out(const References& references) const {
    std::set<std::uint64_t> given;
    for (const WrapperPointer& pointer : pointers_) given.insert(pointer.offset);
    for (const WrapperPointer& pointer : references.wrappers) {
      const Placed* placed = container_at(pointer.now.target);
      if (placed == nullptr) throw RefusedError("wrapper does not point to a fatbin container", pointer.offset);
      if (placed->edit && !given.contains(pointer.offset))
        throw std::invalid_argument("edit leaves out the wrapper at file offset " + std::to_string(pointer.offset - 8) +
                                    " of its container");
    }
    for (const NamedContainer& named : references.symbols)
      if (container_at(named.symbol.st_value) == nullptr)
        throw RefusedError("dynamic symbol of a wrapper pointer names no container", named.offset);
  }

  // The container that started at this address, in an arena of all containers.
  const Placed* container_at(std::uint64_t vaddr) const {
    return arena_->find(section().offset + (vaddr - section().addr));
  }

  // --- where everything goes ---

  std::uint64_t alignment() const { return sections_ ? sections_->alignment : kAlignWithoutSection; }

  void plan_append() {
    if (sections_) check_sections();
    arena_ = Arena::of_edits(source_, edits_);
    program_.slots = choose_slots(file_, elf_, 1);
    extents_ = {{0, source_.size(), 0}};
    plan_segment(source_.size());
  }

  void plan_repack() {
    open_section();
    common_alignment(elf_);
    const std::uint64_t start = section().offset;
    distance_ = section().addr - section().offset;
    const std::uint64_t end = arena_->place(start, alignment());
    place_ = {section().addr, start, end - start};
    if (end > section_end())
      throw RefusedError("containers do not fit where they were: " + std::to_string(end - start) + " bytes, section " +
                             ".nv_fatbin has " + std::to_string(section().size),
                         start);
    if (!take_cut(end, false) && program_.slots.kind == HeaderSlot::None) take_cut(end, true);
    keep_outside_section();
  }

  // Cuts what is free behind `end`, with or without moving the header table there; false when that cannot be done.
  bool take_cut(std::uint64_t end, bool move_table) {
    const std::uint64_t align = common_alignment(elf_);
    const bool program = is_program(elf_, dynamic_);
    const std::uint64_t table = align_up(end, kTableAlign, 0);
    if (move_table) end = table + (elf_.segments.size() + 1) * sizeof(Elf64_Phdr);
    const auto split = end > section_end() ? std::nullopt : plan_cut(elf_, segment_, section(), end, align);
    if (!split || (program && (move_table || elf_.header.phoff > split->cut.offset))) return false;
    if (move_table && split->cut.size < kWorthMoving) return false;
    ProgramPlan plan;
    plan.split = split;
    plan.slots = move_table ? SlotChoice{HeaderSlot::Moved, {}} : choose_slots(file_, elf_, plan.needed());
    if (!move_table && plan.slots.kind == HeaderSlot::Moved) return false;
    plan.table_offset = table;
    plan.table_vaddr = table + distance_;
    program_ = plan;
    cut_ = split->cut;
    return true;
  }

  void plan_move() {
    open_section();
    if (is_program(elf_, dynamic_))
      throw RefusedError("program: layout move is for libraries, since kernels find a program's header table by its place",
                         elf_.header.phoff);
    program_.split = plan_cut(elf_, segment_, section(), section().offset, common_alignment(elf_));
    if (program_.split) cut_ = program_.split->cut;
    program_.slots = choose_slots(file_, elf_, 1 + program_.needed());
    plan_segment(keep_outside_section());
    place_ = {vaddr_of(first_offset_), first_offset_, segment_end_ - first_offset_};
  }

  // All but the section; a section header table at the end of the file goes too, since the new one takes its place.
  // Returns the end of what is kept, in the new file.
  std::uint64_t keep_outside_section() {
    std::uint64_t end = source_.size();
    const std::uint64_t table = elf_.header.shoff;
    if (table >= section_end() && table + elf_.header.shnum * sizeof(Elf64_Shdr) == end &&
        is_alone(elf_, table, end, sections_->old_index, segment_))
      end = table;
    const std::uint64_t behind = section_end();
    extents_ = {{0, section().offset, 0}, {behind, end - behind, behind - cut_.size}};
    return end_ = end - cut_.size;
  }

  // The new segment with [program headers, when they move] [container] ...
  void plan_segment(std::uint64_t file_end) {
    program_.added = place_segment(elf_, dynamic_, program_.slots.kind, file_end);
    const SegmentPlace& added = *program_.added;
    distance_ = added.vaddr - added.offset;
    std::uint64_t start = added.offset;
    program_.table_offset = added.offset;
    program_.table_vaddr = added.vaddr;
    if (program_.slots.kind == HeaderSlot::Moved)
      start += (elf_.segments.size() + program_.needed()) * sizeof(Elf64_Phdr);
    first_offset_ = align_up(start, alignment(), 0);
    segment_end_ = arena_->place(start, alignment());
    program_.added_size = segment_end_ - added.offset;
    place_ = {vaddr_of(first_offset_), first_offset_, segment_end_ - first_offset_};
    end_ = segment_end_;
  }

  // Of a place in the arena.
  std::uint64_t vaddr_of(std::uint64_t offset) const { return offset + distance_; }

  // --- what is changed ---

  // Changes bytes of the original where they stand now.
  void overwrite(std::uint64_t offset, std::vector<std::byte> bytes) {
    const auto it = std::ranges::find_if(extents_, [&](const KeptRange& range) {
      return offset >= range.offset && inside(offset - range.offset, bytes.size(), range.size);
    });
    if (it == extents_.end())
      throw RefusedError("tables of the file overlap where it must be changed", offset);
    changed_.push_back({offset, bytes.size()});
    writes_.push_back({it->at + (offset - it->offset), std::move(bytes)});
  }

  // The relocation record, where there is one, and always the bytes in place: RELR and fixed-address files live by
  // them, and so do static readers.
  void point(const WrapperPointer& pointer, std::uint64_t target) {
    const std::uint64_t relative = elf_.header.machine == EM_AARCH64 ? R_AARCH64_RELATIVE : R_X86_64_RELATIVE;
    overwrite(pointer.offset, bytes_of(target));
    if (pointer.now.how != SlotKind::Rela && pointer.now.how != SlotKind::Symbol) return;
    overwrite(pointer.now.rela_file_offset,
              bytes_of(Elf64_Rela{pointer.vaddr, relative, static_cast<Elf64_Sxword>(target)}));
  }

  void point_wrappers() {
    if (layout_ == Layout::Append) {
      std::size_t next = 0;
      for (const Placed& placed : arena_->containers())
        for (std::size_t n = 0; n < edits_[*placed.edit].wrappers.size(); ++n)
          point(pointers_[next++], vaddr_of(placed.offset));
      return;
    }
    for (const WrapperPointer& pointer : pointers_) {
      const std::uint64_t target = vaddr_of(container_at(pointer.now.target)->offset);
      if (target != pointer.now.target) point(pointer, target);
    }
    for (NamedContainer& named : symbols_) {
      follow(named.symbol);
      overwrite(named.offset, bytes_of(named.symbol));
    }
  }

  // A symbol in the old section, to where what it names stands now. One inside a container that was edited goes to the
  // new one's start, one between containers to the end of the container before it.
  bool follow(Elf64_Sym& symbol) const {
    if (layout_ == Layout::Append) return follow_edited(symbol);
    if (ELF64_ST_TYPE(symbol.st_info) == STT_SECTION) {
      symbol.st_value = place_.vaddr;
      return true;
    }
    const std::uint64_t old = section().offset + (symbol.st_value - section().addr);
    const auto placed = arena_->containers();
    const auto behind = std::ranges::upper_bound(placed, old, {}, &Placed::old_offset);
    if (behind == placed.begin()) {
      symbol.st_value = place_.vaddr;
      return true;
    }
    const Placed& at = *(behind - 1);
    const std::uint64_t into = old - at.old_offset;
    const bool past = into >= at.old_size;
    symbol.st_value = vaddr_of(at.offset) + (past ? at.size : at.edit ? 0 : into);
    if (into == 0 && symbol.st_size != 0) symbol.st_size = at.size;
    return true;
  }

  bool follow_edited(Elf64_Sym& symbol) const {
    if (ELF64_ST_TYPE(symbol.st_info) != STT_OBJECT) return false;
    const auto offset = elf_.vaddr_to_offset(symbol.st_value);
    const auto placed = arena_->containers();
    const auto it = std::ranges::find(placed, offset, [](const Placed& p) { return std::optional(p.old_offset); });
    if (it == placed.end()) return false;
    symbol.st_value = vaddr_of(it->offset);
    symbol.st_shndx = static_cast<std::uint16_t>(elf_.header.shnum);
    if (symbol.st_size != 0) symbol.st_size = it->size;
    return true;
  }

  void edit_tables() {
    auto header = file_.at<Elf64_Ehdr>(0, "ELF header");
    auto programs = make_program_headers(file_, elf_, program_);
    header.e_phnum = static_cast<Elf64_Half>(programs.size() / sizeof(Elf64_Phdr));
    header.e_phoff = cut_.shifted(header.e_phoff);
    if (program_.slots.kind == HeaderSlot::Moved) {
      header.e_phoff = program_.table_offset;
      writes_.push_back({header.e_phoff, std::move(programs)});
    } else {
      overwrite(elf_.header.phoff, std::move(programs));
    }
    if (sections_) {
      std::optional<std::uint64_t> marker;
      end_ = align_up(end_, kTableAlign, 0);
      if (layout_ != Layout::Append) marker = std::exchange(end_, end_ + kMarkerSize);
      auto table = make_section_table(file_, elf_, *sections_, place_, cut_, marker);
      header.e_shoff = end_;
      header.e_shnum = static_cast<Elf64_Half>(table.size() / sizeof(Elf64_Shdr));
      end_ = header.e_shoff + table.size();
      writes_.push_back({header.e_shoff, std::move(table)});
      for (const SymbolEdit& edit :
           moved_symbols(file_, elf_, *sections_, [this](Elf64_Sym& symbol) { return follow(symbol); }))
        overwrite(edit.offset, bytes_of(edit.symbol));
    }
    overwrite(0, bytes_of(header));
    check_apart();
  }

  // Writes that meet: then the file is not laid out as its own tables say.
  void check_apart() {
    std::ranges::sort(changed_, {}, &ChangedRange::offset);
    for (std::size_t i = 1; i < changed_.size(); ++i)
      if (changed_[i].offset < changed_[i - 1].offset + changed_[i - 1].size)
        throw RefusedError("tables of the file overlap where it must be changed", changed_[i].offset);
  }

  std::vector<OldRange> account() const {
    std::vector<KeptRange> kept = extents_;
    if (layout_ != Layout::Append) {
      const auto moved = arena_->kept(section(), source_);
      kept.insert(kept.end(), moved.begin(), moved.end());
    }
    return account_for(source_.size(), std::move(kept), changed_);
  }

  const SourceFile& source_;
  std::span<const ContainerEdit> edits_;
  Layout layout_;
  Windows file_;
  Elf elf_;
  ElfDynamic dynamic_;
  std::vector<WrapperPointer> pointers_;  // append: of the edits' wrappers, in order; else all into the section
  std::vector<NamedContainer> symbols_;
  std::optional<SectionPlan> sections_;
  std::size_t segment_ = 0;  // that holds the section
  std::optional<Arena> arena_;
  ProgramPlan program_;
  Cut cut_;
  std::vector<KeptRange> extents_;  // of the original, all but the section's containers
  ContainerPlace place_;            // of the section with the new containers
  std::uint64_t distance_ = 0;      // between addresses and file offsets in the arena
  std::uint64_t first_offset_ = 0;
  std::uint64_t segment_end_ = 0;
  std::uint64_t end_ = 0;  // of the new file
  std::vector<ChangedRange> changed_;
  std::vector<Write> writes_;
};

}  // namespace

const char* layout_name(Layout layout) noexcept {
  switch (layout) {
    case Layout::Repack: return "repack";
    case Layout::Append: return "append";
    case Layout::Move: return "move";
  }
  return "";
}

RewriteResult rewrite_containers(const std::string& input, const std::string& output,
                                 std::span<const ContainerEdit> edits, Layout layout) {
  const SourceFile source(input);
  return Rewriter(source, edits, layout).write(output);
}

}  // namespace shim
