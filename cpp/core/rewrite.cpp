#include "rewrite.hpp"

#include <algorithm>
#include <optional>
#include <set>
#include <stdexcept>

#include "section_table.hpp"
#include "wrapper_pointers.hpp"

namespace shim {
namespace {

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

void check_supported(const Elf& elf, const ElfDynamic& dynamic) {
  if (elf.header.type == ET_REL)
    throw RefusedError("unlinked object file: link it first", offsetof(Elf64_Ehdr, e_type));
  if (dynamic.android_packed)
    throw RefusedError("relocations are in Android's packed format", elf.header.phoff);
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
    result.containers = offsets_;
    result.slot = slot_.kind;
    result.strip_unsafe = slot_.kind == HeaderSlot::Moved || !sections_;
    NewFile out(output, source_.mode());
    out.copy_at(0, source_, 0, source_.size());
    for (std::size_t i = 0; i < edits_.size(); ++i)
      write_container(out, offsets_[i], sizes_[i], edits_[i].pieces, source_);
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
    pointers_ = resolve_wrapper_pointers(file_, elf_, dynamic, wrappers,
                                         [this] { FileMapping::drop(source_.bytes()); });
  }

  // Pre-linked containers (__nv_relfatbin) are told from others by their section alone, so they must stay in it.
  void check_sections() const {
    if (!sections_) return;
    const Section& section = elf_.sections[sections_->old_index];
    for (const WrapperPointer& pointer : pointers_)
      if (pointer.now.target < section.addr || pointer.now.target - section.addr >= section.size)
        throw RefusedError("wrapper's container is not in section .nv_fatbin", pointer.offset);
  }

  void lay_out() {
    const std::uint64_t align = sections_ ? sections_->alignment : kAlignWithoutSection;
    std::uint64_t end = place_.offset;
    if (slot_.kind == HeaderSlot::Moved) end += (elf_.segments.size() + 1) * sizeof(Elf64_Phdr);
    for (const ContainerEdit& edit : edits_) {
      offsets_.push_back(align_up(end, align, 0));
      sizes_.push_back(measure_container(edit.pieces, source_));
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
        const WrapperPointer& pointer = pointers_[next];
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

  const SourceFile& source_;
  std::span<const ContainerEdit> edits_;
  Windows file_;
  Elf elf_;
  std::vector<WrapperPointer> pointers_;  // of all edits' wrappers, in order
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
