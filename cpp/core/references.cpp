#include "references.hpp"

#include <algorithm>
#include <array>
#include <set>
#include <string>

#include "fatbin.hpp"
#include "refused.hpp"

namespace shim {
namespace {

constexpr std::uint64_t kWord = sizeof(std::uint64_t);
constexpr std::uint64_t kDropEvery = 1ULL << 22;  // bytes of a table or of data between two calls of drop()
constexpr std::int64_t kDtRelr = 36;              // newer than the <elf.h> of old build hosts
constexpr std::array<std::int64_t, 16> kAddressTags = {
    DT_PLTGOT, DT_HASH,       DT_STRTAB,     DT_SYMTAB,   DT_RELA,   DT_INIT,    DT_FINI,   DT_JMPREL,
    DT_REL,    DT_INIT_ARRAY, DT_FINI_ARRAY, DT_GNU_HASH, DT_VERSYM, DT_VERNEED, DT_VERDEF, kDtRelr};

std::string hex(std::uint64_t value) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string text;
  do text.insert(text.begin(), digits[value & 15]);
  while (value >>= 4);
  return "0x" + text;
}

// Offsets in thread-local storage and the like, not addresses.
bool is_thread_local(std::uint16_t machine, std::uint64_t type) {
  if (machine == EM_AARCH64) return type >= R_AARCH64_TLS_DTPMOD && type <= R_AARCH64_TLSDESC;
  return (type >= R_X86_64_DTPMOD64 && type <= R_X86_64_TPOFF32) ||
         (type >= R_X86_64_GOTPC32_TLSDESC && type <= R_X86_64_TLSDESC);
}

class Finder {
 public:
  Finder(const Windows& file, const Elf& elf, const ElfDynamic& dynamic, const AddressRange& range,
         const std::function<void()>& drop)
      : file_(file), elf_(elf), dynamic_(dynamic), range_(range), drop_(drop) {}

  References find() {
    check_dynamic();
    read_rela(dynamic_.rela);
    read_rela(plt_relocations());
    read_relr();
    if (elf_.header.type == ET_EXEC) read_data();
    std::ranges::sort(out_.wrappers, {}, &WrapperPointer::vaddr);
    const auto same = std::ranges::adjacent_find(out_.wrappers, {}, &WrapperPointer::vaddr);
    if (same != out_.wrappers.end()) throw RefusedError("wrapper pointer with two relocations", same->offset);
    read_symbols();
    return std::move(out_);
  }

 private:
  void check_dynamic() const {
    for (const std::int64_t tag : kAddressTags) {
      const auto it = dynamic_.tags.find(tag);
      if (it != dynamic_.tags.end() && range_.contains(it->second))
        throw RefusedError("entry " + std::to_string(tag) + " of the dynamic section points into .nv_fatbin",
                           dynamic_.offset);
    }
    if (dynamic_.tags.contains(DT_REL) && dynamic_.get(DT_RELSZ) != 0)
      throw RefusedError("relocations without addends (DT_REL)", dynamic_.offset);
  }

  ElfTable plt_relocations() const {
    const std::uint64_t size = dynamic_.get(DT_PLTRELSZ);
    if (size == 0 || !dynamic_.tags.contains(DT_JMPREL)) return {};
    if (size > kElfTableLimit) throw ParseError("relocation table (DT_JMPREL): too large", dynamic_.offset);
    return {elf_.mapped_offset(dynamic_.get(DT_JMPREL), size, "relocation table (DT_JMPREL)", dynamic_.offset), size};
  }

  // A pointer at `slot` to `target`: a wrapper's, or nobody may have it.
  void add(std::uint64_t slot, std::uint64_t target, SlotKind how, std::uint64_t record, const std::string& what) {
    const auto found = wrapper_of(slot);
    if (!found)
      throw RefusedError(what + " at address " + hex(slot) + " points to " + hex(target) +
                             " in .nv_fatbin, but belongs to no wrapper",
                         record);
    const bool related = how == SlotKind::Rela || how == SlotKind::Symbol;
    out_.wrappers.push_back({slot, *found + kWord, {target, how, related ? record : 0}});
  }

  // File offset of the wrapper whose pointer stands at this address.
  std::optional<std::uint64_t> wrapper_of(std::uint64_t slot) const {
    if (slot < kWord) return std::nullopt;
    const auto offset = elf_.vaddr_to_offset(slot - kWord, kWrapperSize);
    if (!offset || file_.at<std::uint32_t>(*offset, "fatbin wrapper") != kWrapperMagic) return std::nullopt;
    const auto version = file_.at<std::uint32_t>(*offset + 4, "fatbin wrapper");
    if (version != 1 && version != 2) return std::nullopt;
    return offset;
  }

  Elf64_Sym symbol(std::uint64_t number, std::uint64_t where) const {
    if (dynamic_.symtab == 0) throw ParseError("relocation names a symbol, but there is no symbol table", where);
    const std::uint64_t at = checked_add(dynamic_.symtab, checked_mul(number, sizeof(Elf64_Sym), where), where);
    return file_.at<Elf64_Sym>(at, "symbol of a relocation");
  }

  void read_rela(const ElfTable& table) {
    const Bytes bytes = view_table(file_, table, "relocation table");
    const bool arm = elf_.header.machine == EM_AARCH64;
    const std::uint64_t absolute = arm ? R_AARCH64_ABS64 : R_X86_64_64;
    const std::uint64_t global_data = arm ? R_AARCH64_GLOB_DAT : R_X86_64_GLOB_DAT;
    const std::uint64_t relative = arm ? R_AARCH64_RELATIVE : R_X86_64_RELATIVE;
    for (std::uint64_t pos = 0; pos + sizeof(Elf64_Rela) <= bytes.size(); pos += sizeof(Elf64_Rela)) {
      const auto record = load<Elf64_Rela>(bytes.data() + pos);
      const std::uint64_t type = ELF64_R_TYPE(record.r_info);
      const std::uint64_t number = ELF64_R_SYM(record.r_info);
      if (is_thread_local(elf_.header.machine, type)) continue;
      auto target = static_cast<std::uint64_t>(record.r_addend);
      if (number != 0 && type != relative) {
        const Elf64_Sym named = symbol(number, table.offset + pos);
        if (named.st_shndx == SHN_UNDEF) continue;
        target += named.st_value;
      }
      if (!range_.contains(target)) continue;
      const std::uint64_t at = table.offset + pos;
      add(record.r_offset, target, type == relative ? SlotKind::Rela : SlotKind::Symbol, at, "relocation");
      if (type == relative) continue;
      if (type != absolute && type != global_data)
        throw RefusedError("relocation type " + std::to_string(type) + " for a wrapper pointer is no plain address", at);
      named_.insert(number);
    }
  }

  // The value in place counts for the words that DT_RELR lists.
  void read_relr() {
    const Bytes bytes = view_table(file_, dynamic_.relr, "packed relocation table");
    std::uint64_t base = 0;
    for (std::uint64_t pos = 0; pos + kWord <= bytes.size(); pos += kWord) {
      const auto entry = load<std::uint64_t>(bytes.data() + pos);
      if ((entry & 1) == 0) {
        read_word(entry, SlotKind::Relr);
        base = entry + kWord;
        continue;
      }
      for (std::uint64_t i = 0; i < 63; ++i)
        if (((entry >> (i + 1)) & 1) != 0) read_word(base + i * kWord, SlotKind::Relr);
      base += 63 * kWord;
    }
  }

  // A fixed-address program has no relocations for its own addresses: every word of its data may be one.
  void read_data() {
    std::set<std::uint64_t> known;
    for (const WrapperPointer& pointer : out_.wrappers) known.insert(pointer.vaddr);
    for (const Segment& s : elf_.segments) {
      if (s.type != PT_LOAD || (s.flags & PF_W) == 0 || s.filesz < kWord) continue;
      const std::uint64_t end = s.vaddr + s.filesz;
      for (std::uint64_t at = align_up(s.vaddr, kWord, s.offset); at + kWord <= end; at += kWord)
        if (!known.contains(at)) read_word(at, SlotKind::InPlace);
    }
  }

  void read_word(std::uint64_t slot, SlotKind how) {
    const auto offset = elf_.vaddr_to_offset(slot, kWord);
    if (!offset) return;
    const auto value = file_.at<std::uint64_t>(*offset, "pointer");
    if (range_.contains(value)) add(slot, value, how, *offset, how == SlotKind::Relr ? "relocation" : "word");
    seen_ += kWord;
    if (seen_ % kDropEvery == 0) drop_();
  }

  // How many dynamic symbols there are stands in no entry of its own: the hash tables tell.
  std::uint64_t symbol_count() const {
    if (dynamic_.tags.contains(DT_GNU_HASH)) return gnu_hash_count();
    if (dynamic_.tags.contains(DT_HASH)) {
      const auto at = elf_.mapped_offset(dynamic_.get(DT_HASH), kWord, "hash table (DT_HASH)", dynamic_.offset);
      return file_.at<std::uint32_t>(at + 4, "hash table (DT_HASH)");
    }
    for (const Section& s : elf_.sections)
      if (s.type == SHT_DYNSYM && s.offset == dynamic_.symtab) return s.size / sizeof(Elf64_Sym);
    throw RefusedError("how many dynamic symbols there are is not known: no hash table", dynamic_.offset);
  }

  std::uint64_t gnu_hash_count() const {
    struct Header {
      std::uint32_t buckets, first, bloom_words, shift;
    };
    constexpr const char* what = "hash table (DT_GNU_HASH)";
    const auto at = elf_.mapped_offset(dynamic_.get(DT_GNU_HASH), sizeof(Header), what, dynamic_.offset);
    const auto header = file_.at<Header>(at, what);
    const std::uint64_t buckets_at = at + sizeof(Header) + header.bloom_words * kWord;
    const Bytes buckets = file_.view(buckets_at, std::uint64_t{header.buckets} * 4, what);
    std::uint64_t last = 0;
    for (std::size_t i = 0; i < buckets.size(); i += 4)
      last = std::max<std::uint64_t>(last, load<std::uint32_t>(buckets.data() + i));
    if (last < header.first) return header.first;
    const std::uint64_t chains = buckets_at + buckets.size();
    while ((file_.at<std::uint32_t>(chains + (last - header.first) * 4, what) & 1) == 0) ++last;
    return last + 1;
  }

  void read_symbols() {
    if (dynamic_.symtab == 0) return;
    const std::uint64_t count = symbol_count();
    if (count > kElfTableLimit / sizeof(Elf64_Sym)) throw ParseError("dynamic symbol table: too large", dynamic_.offset);
    const Bytes table = file_.view(dynamic_.symtab, count * sizeof(Elf64_Sym), "dynamic symbol table");
    for (std::uint64_t i = 0; i < count; ++i) {
      const auto symbol = load<Elf64_Sym>(table.data() + i * sizeof(Elf64_Sym));
      if (symbol.st_shndx == SHN_UNDEF || symbol.st_shndx == SHN_ABS || ELF64_ST_TYPE(symbol.st_info) == STT_TLS ||
          !range_.contains(symbol.st_value))
        continue;
      const std::uint64_t at = dynamic_.symtab + i * sizeof(Elf64_Sym);
      if (!named_.contains(i))
        throw RefusedError("dynamic symbol " + std::to_string(i) + " at address " + hex(symbol.st_value) +
                               " is in .nv_fatbin, where other libraries may use it",
                           at);
      out_.symbols.push_back({at, symbol});
    }
  }

  const Windows& file_;
  const Elf& elf_;
  const ElfDynamic& dynamic_;
  const AddressRange range_;
  const std::function<void()>& drop_;
  References out_;
  std::set<std::uint64_t> named_;  // numbers of the symbols that wrappers' relocations name
  std::uint64_t seen_ = 0;
};

}  // namespace

References find_references(const Windows& file, const Elf& elf, const ElfDynamic& dynamic, const AddressRange& range,
                           const std::function<void()>& drop) {
  return Finder(file, elf, dynamic, range, drop).find();
}

}  // namespace shim
