#include "rewrite.hpp"

#include <algorithm>
#include <array>
#include <functional>
#include <optional>
#include <set>
#include <stdexcept>

#include "disk_file.hpp"
#include "elf_slots.hpp"
#include "fatbin.hpp"
#include "section_table.hpp"

namespace shim {
namespace {

constexpr std::uint64_t kPointerInWrapper = 8;
constexpr std::uint64_t kAlignWithoutSection = 256;  // what aarch64 sections ask for; x86-64 ones ask for 8

struct Write {
  std::uint64_t offset = 0;
  std::vector<std::byte> bytes;
};

template <class T>
std::vector<std::byte> bytes_of(const T& value) {
  const Bytes bytes = std::as_bytes(std::span(&value, 1));
  return {bytes.begin(), bytes.end()};
}

struct Pointer {
  std::uint64_t vaddr = 0;   // of the slot
  std::uint64_t offset = 0;  // of the slot, in the file
  ResolvedSlot now;
};

void check_supported(const Elf& elf, const ElfDynamic& dynamic) {
  if (elf.header.type == ET_REL) throw RefusedError("unlinked object file: link it first", offsetof(Elf64_Ehdr, e_type));
  if (dynamic.android_packed)
    throw RefusedError("relocations are in Android's packed format", elf.header.phoff);
}

// Frees the memory of the pages looked at so far. A look at a container maps the pages around it too, so thousands of
// them would add up to the whole file.
using Drop = std::function<void()>;
constexpr std::size_t kDropEvery = 32;

std::vector<Pointer> resolve_pointers(const Windows& file, const Elf& elf, const ElfDynamic& dynamic,
                                      const std::vector<std::uint64_t>& wrappers, const Drop& drop) {
  std::vector<Pointer> out;
  std::vector<std::uint64_t> vaddrs;
  for (const std::uint64_t wrapper : wrappers) {
    const Bytes bytes = file.view(wrapper, kWrapperSize, "fatbin wrapper");
    if (load<std::uint32_t>(bytes.data()) != kWrapperMagic)
      throw std::invalid_argument("no fatbin wrapper at file offset " + std::to_string(wrapper));
    const auto version = load<std::uint32_t>(bytes.data() + 4);
    if (version != 1 && version != 2)
      throw RefusedError("fatbin wrapper of unknown version " + std::to_string(version), wrapper + 4);
    const auto vaddr = elf.offset_to_vaddr(wrapper, kWrapperSize);
    if (!vaddr) throw RefusedError("fatbin wrapper is in no loaded part of the file", wrapper);
    vaddrs.push_back(*vaddr + kPointerInWrapper);
    out.push_back({vaddrs.back(), wrapper + kPointerInWrapper, {}});
  }
  const auto resolved = resolve_slots(file, elf, dynamic, vaddrs);
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i].now = resolved[i];
    if (elf.header.type == ET_DYN && resolved[i].how == SlotKind::InPlace)
      throw RefusedError("wrapper pointer of a relocatable file has no relocation", out[i].offset);
    const auto target = elf.vaddr_to_offset(resolved[i].target, kContainerHeaderSize);
    if (!target) throw RefusedError("wrapper points outside the loaded parts of the file", out[i].offset);
    if (file.at<std::uint32_t>(*target, "fatbin container") != kContainerMagic)
      throw RefusedError("wrapper does not point to a fatbin container", out[i].offset);
    if (i % kDropEvery == kDropEvery - 1) drop();
  }
  return out;
}

std::uint64_t piece_size(const Piece& piece, std::uint64_t file_size) {
  if (const auto* bytes = std::get_if<Bytes>(&piece)) return bytes->size();
  if (const auto* whole = std::get_if<WholeFile>(&piece)) return SourceFile(whole->path).size();
  const auto& range = std::get<SourceRange>(piece);
  if (!inside(range.offset, range.size, file_size))
    throw std::invalid_argument("piece of " + std::to_string(range.size) + " bytes at offset " +
                                std::to_string(range.offset) + " leaves the input file");
  return range.size;
}

// Size of the container, after a look at its header.
std::uint64_t container_size(const ContainerEdit& edit, Bytes source) {
  std::uint64_t total = 0;
  for (const Piece& piece : edit.pieces) total = checked_add(total, piece_size(piece, source.size()), 0);
  std::array<std::byte, kContainerHeaderSize> header{};
  Bytes first;
  std::optional<SourceFile> opened;
  if (!edit.pieces.empty()) {
    const Piece& piece = edit.pieces.front();
    if (const auto* bytes = std::get_if<Bytes>(&piece)) first = *bytes;
    if (const auto* range = std::get_if<SourceRange>(&piece)) first = source.subspan(range->offset, range->size);
    if (const auto* whole = std::get_if<WholeFile>(&piece)) first = opened.emplace(whole->path).bytes();
  }
  if (first.size() < header.size()) throw std::invalid_argument("first piece is smaller than a container header");
  if (load<std::uint32_t>(first.data()) != kContainerMagic || load<std::uint16_t>(first.data() + 6) != kContainerHeaderSize)
    throw std::invalid_argument("new container does not start with a container header");
  if (load<std::uint64_t>(first.data() + 8) != total - kContainerHeaderSize)
    throw std::invalid_argument("new container: header says " + std::to_string(load<std::uint64_t>(first.data() + 8)) +
                                " bytes follow, given are " + std::to_string(total - kContainerHeaderSize));
  return total;
}

// Sorts, and refuses writes that meet: then the file is not laid out as its own tables say.
void check_apart(std::vector<Write>& writes) {
  std::ranges::sort(writes, {}, &Write::offset);
  for (std::size_t i = 1; i < writes.size(); ++i)
    if (writes[i].offset < writes[i - 1].offset + writes[i - 1].bytes.size())
      throw RefusedError("tables of the file overlap where it must be changed", writes[i].offset);
}

class Append {
 public:
  Append(const SourceFile& source, std::span<const ContainerEdit> edits)
      : source_(source), edits_(edits), file_(Windows::whole(source.bytes())), elf_(parse_elf(file_)) {
    const ElfDynamic dynamic = read_dynamic(file_, elf_);
    check_supported(elf_, dynamic);
    collect_pointers(dynamic);
    slot_ = choose_slot(file_, elf_);
    place_ = place_segment(file_, elf_, slot_.kind);
    sections_ = plan_sections(elf_);
    check_sections();
    lay_out();
    point_wrappers();
    edit_tables();
    check_apart(writes_);
  }

  AppendResult write(const std::string& output) {
    AppendResult result;
    result.original_size = source_.size();
    result.size = end_;
    result.segment_offset = place_.offset;
    result.segment_vaddr = place_.vaddr;
    for (const std::uint64_t offset : offsets_) result.containers.push_back(offset);
    result.slot = slot_.kind;
    result.strip_unsafe = slot_.kind == HeaderSlot::Moved || !sections_;
    NewFile out(output, source_.mode());
    out.copy_at(0, source_, 0, source_.size());
    for (std::size_t i = 0; i < edits_.size(); ++i) write_container(out, i);
    for (const Write& write : writes_) {
      out.write_at(write.offset, write.bytes);
      if (write.offset >= source_.size()) continue;
      const Bytes before = source_.bytes().subspan(write.offset, write.bytes.size());
      result.undo.push_back({write.offset, {before.begin(), before.end()}});
    }
    out.set_size(end_);
    out.commit();
    return result;
  }

 private:
  void collect_pointers(const ElfDynamic& dynamic) {
    std::vector<std::uint64_t> wrappers;
    for (const ContainerEdit& edit : edits_) {
      if (edit.wrappers.empty()) throw std::invalid_argument("edit without a wrapper");
      wrappers.insert(wrappers.end(), edit.wrappers.begin(), edit.wrappers.end());
    }
    if (wrappers.empty()) throw std::invalid_argument("no edits");
    if (std::set(wrappers.begin(), wrappers.end()).size() != wrappers.size())
      throw std::invalid_argument("one wrapper in two edits");
    pointers_ = resolve_pointers(file_, elf_, dynamic, wrappers, [this] { FileMapping::drop(source_.bytes()); });
  }

  // Pre-linked containers (__nv_relfatbin) are told from others by their section alone, so they must stay in it.
  void check_sections() const {
    if (!sections_) return;
    const Section& section = elf_.sections[sections_->old_index];
    for (const Pointer& pointer : pointers_)
      if (pointer.now.target < section.addr || pointer.now.target - section.addr >= section.size)
        throw RefusedError("wrapper's container is not in section .nv_fatbin", pointer.offset);
  }

  void lay_out() {
    const std::uint64_t align = sections_ ? sections_->alignment : kAlignWithoutSection;
    std::uint64_t end = place_.offset;
    if (slot_.kind == HeaderSlot::Moved) end += (elf_.segments.size() + 1) * sizeof(Elf64_Phdr);
    for (const ContainerEdit& edit : edits_) {
      offsets_.push_back(align_up(end, align, 0));
      sizes_.push_back(container_size(edit, source_.bytes()));
      end = checked_add(offsets_.back(), sizes_.back(), 0);
    }
    segment_end_ = end;
    end_ = end;
  }

  std::uint64_t vaddr_of(std::uint64_t offset) const { return place_.vaddr + (offset - place_.offset); }

  // The relocation record, where there is one, and always the bytes in place: RELR and fixed-address files live by
  // them, and so do static readers.
  void point_wrappers() {
    const std::uint64_t relative = elf_.header.machine == EM_AARCH64 ? R_AARCH64_RELATIVE : R_X86_64_RELATIVE;
    std::size_t next = 0;
    for (std::size_t i = 0; i < edits_.size(); ++i) {
      const std::uint64_t target = vaddr_of(offsets_[i]);
      for (std::size_t n = 0; n < edits_[i].wrappers.size(); ++n, ++next) {
        const Pointer& pointer = pointers_[next];
        moved_.push_back({pointer.now.target, target, sizes_[i]});
        writes_.push_back({pointer.offset, bytes_of(target)});
        if (pointer.now.how != SlotKind::Rela && pointer.now.how != SlotKind::Symbol) continue;
        writes_.push_back({pointer.now.rela_file_offset,
                           bytes_of(Elf64_Rela{pointer.vaddr, relative, static_cast<Elf64_Sxword>(target)})});
      }
    }
  }

  void edit_tables() {
    auto header = file_.at<Elf64_Ehdr>(0, "ELF header");
    auto programs = make_program_headers(file_, elf_, slot_, place_, segment_end_ - place_.offset);
    if (slot_.kind == HeaderSlot::Moved) header.e_phoff = place_.offset;
    header.e_phnum = static_cast<Elf64_Half>(programs.size() / sizeof(Elf64_Phdr));
    writes_.push_back({header.e_phoff, std::move(programs)});
    if (sections_) {
      const std::uint64_t first = offsets_.front();
      auto table = make_section_table(file_, elf_, *sections_, vaddr_of(first), first, segment_end_ - first);
      header.e_shoff = align_up(segment_end_, 8, 0);
      header.e_shnum = static_cast<Elf64_Half>(table.size() / sizeof(Elf64_Shdr));
      end_ = header.e_shoff + table.size();
      writes_.push_back({header.e_shoff, std::move(table)});
      for (const SymbolEdit& edit : moved_symbols(file_, elf_, *sections_, moved_))
        writes_.push_back({edit.offset, bytes_of(edit.symbol)});
    }
    writes_.push_back({0, bytes_of(header)});
  }

  void write_container(NewFile& out, std::size_t index) const {
    std::uint64_t offset = offsets_[index];
    const std::uint64_t end = offset + sizes_[index];
    for (const Piece& piece : edits_[index].pieces) {
      const std::uint64_t size = piece_size(piece, source_.size());
      if (!inside(offset, size, end)) throw std::invalid_argument("a piece grew while it was written");
      if (const auto* bytes = std::get_if<Bytes>(&piece)) out.write_at(offset, *bytes);
      if (const auto* range = std::get_if<SourceRange>(&piece)) out.copy_at(offset, source_, range->offset, size);
      if (const auto* whole = std::get_if<WholeFile>(&piece)) out.copy_at(offset, SourceFile(whole->path), 0, size);
      offset += size;
    }
    if (offset != end) throw std::invalid_argument("a piece shrank while it was written");
  }

  const SourceFile& source_;
  std::span<const ContainerEdit> edits_;
  Windows file_;
  Elf elf_;
  std::vector<Pointer> pointers_;  // of all edits' wrappers, in order
  SlotChoice slot_;
  SegmentPlace place_;
  std::optional<SectionPlan> sections_;
  std::vector<std::uint64_t> offsets_;  // of the new containers
  std::vector<std::uint64_t> sizes_;
  std::vector<MovedContainer> moved_;
  std::uint64_t segment_end_ = 0;
  std::uint64_t end_ = 0;
  std::vector<Write> writes_;
};

}  // namespace

AppendResult append_containers(const std::string& input, const std::string& output,
                               std::span<const ContainerEdit> edits) {
  const SourceFile source(input);
  return Append(source, edits).write(output);
}

void restore_file(const std::string& patched, const std::string& output, std::uint64_t size,
                  std::span<const ByteEdit> undo) {
  const SourceFile source(patched);
  if (size > source.size())
    throw std::invalid_argument("original size " + std::to_string(size) + " exceeds the patched file's " +
                                std::to_string(source.size()));
  for (const ByteEdit& edit : undo)
    if (!inside(edit.offset, edit.original.size(), size))
      throw std::invalid_argument("undo edit at offset " + std::to_string(edit.offset) + " leaves the original file");
  NewFile out(output, source.mode());
  out.copy_at(0, source, 0, size);
  for (const ByteEdit& edit : undo) out.write_at(edit.offset, edit.original);
  out.commit();
}

}  // namespace shim
