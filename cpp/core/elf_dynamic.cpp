#include "elf_dynamic.hpp"

#include <algorithm>
#include <charconv>
#include <utility>

namespace shim {
namespace {

// Newer or other than the <elf.h> of old build hosts.
constexpr std::int64_t kDtRelrsz = 35;
constexpr std::int64_t kDtRelr = 36;
constexpr std::int64_t kDtRelrent = 37;
constexpr std::int64_t kDtAndroidRel = 0x6000000f;
constexpr std::int64_t kDtAndroidRela = 0x60000011;

constexpr std::uint64_t kMaxTags = 1U << 16;
constexpr std::uint64_t kMaxVersions = 1U << 16;

struct Tags {
  std::map<std::int64_t, std::uint64_t> values;  // the loader keeps the last of several equal tags
  std::vector<std::uint64_t> needed;
  std::uint64_t at = 0;  // file offset of the section

  std::uint64_t get(std::int64_t tag) const {
    const auto it = values.find(tag);
    return it == values.end() ? 0 : it->second;
  }
};

Tags read_tags(const Windows& file, const Elf& elf, const Segment& dynamic) {
  Tags tags;
  tags.at = elf.mapped_offset(dynamic.vaddr, dynamic.filesz, "dynamic section", dynamic.offset);
  const std::uint64_t count = dynamic.filesz / sizeof(Elf64_Dyn);
  if (count > kMaxTags) throw ParseError("dynamic section: " + std::to_string(count) + " entries", tags.at);
  const Bytes bytes = file.view(tags.at, dynamic.filesz, "dynamic section");
  for (std::uint64_t i = 0; i < count; ++i) {
    const auto entry = load<Elf64_Dyn>(bytes.data() + i * sizeof(Elf64_Dyn));
    if (entry.d_tag == DT_NULL) break;
    if (entry.d_tag == DT_NEEDED) tags.needed.push_back(entry.d_un.d_val);
    tags.values[entry.d_tag] = entry.d_un.d_val;
  }
  return tags;
}

// A table named by an address tag and a size tag (0 = both absent).
ElfTable table_of(const Elf& elf, const Tags& tags, std::int64_t address_tag, std::int64_t size_tag, const char* what) {
  const std::uint64_t size = tags.get(size_tag);
  if (size == 0) return {};
  if (size > kElfTableLimit)
    throw ParseError(std::string(what) + ": " + std::to_string(size) + " bytes is more than the limit of " +
                         std::to_string(kElfTableLimit),
                     tags.at);
  return {elf.mapped_offset(tags.get(address_tag), size, what, tags.at), size};
}

void check_entry_size(const Tags& tags, std::int64_t tag, std::uint64_t expected, const char* what) {
  const auto it = tags.values.find(tag);
  if (it != tags.values.end() && it->second != expected) fail_expected(what, expected, it->second, tags.at);
}

// "GLIBC_2.34" -> (2, 34); other names (GLIBC_PRIVATE, GLIBC_ABI_DT_RELR, CXXABI_1.3) say nothing about the version.
std::optional<std::pair<std::uint32_t, std::uint32_t>> glibc_version(const std::string& name) {
  constexpr std::string_view prefix = "GLIBC_";
  if (!name.starts_with(prefix)) return std::nullopt;
  const char* const end = name.data() + name.size();
  std::uint32_t major = 0;
  std::uint32_t minor = 0;
  auto [dot, error] = std::from_chars(name.data() + prefix.size(), end, major);
  if (error != std::errc{} || dot == end || *dot != '.') return std::nullopt;
  auto [rest, error2] = std::from_chars(dot + 1, end, minor);
  if (error2 != std::errc{}) return std::nullopt;
  return std::pair{major, minor};
}

// Walks DT_VERNEED. The table's size is not stated anywhere but in its section header, so it is read to the end of the
// segment or 1 MiB, whichever is less; links that leave that are errors.
void read_versions(const Windows& file, const Elf& elf, const Tags& tags, Bytes strings, std::uint64_t strings_at,
                   ElfDynamic& out) {
  const std::uint64_t count = tags.get(DT_VERNEEDNUM);
  if (count == 0) return;
  if (count > kMaxVersions) throw ParseError("version table: " + std::to_string(count) + " entries", tags.at);
  const std::uint64_t start =
      elf.mapped_offset(tags.get(DT_VERNEED), sizeof(Elf64_Verneed), "version table (DT_VERNEED)", tags.at);
  std::uint64_t room = 1U << 20;
  while (room > sizeof(Elf64_Verneed) && !elf.vaddr_to_offset(tags.get(DT_VERNEED), room)) room /= 2;
  const Bytes table = file.view(start, room, "version table (DT_VERNEED)");
  const auto check = [&](std::uint64_t pos, std::uint64_t size) {
    if (!inside(pos, size, table.size()))
      throw ParseError("version table: entry at +" + std::to_string(pos) + " leaves the table", start);
  };
  std::uint64_t steps = 0;
  std::uint64_t pos = 0;
  for (std::uint64_t i = 0; i < count; ++i) {
    check(pos, sizeof(Elf64_Verneed));
    const auto need = load<Elf64_Verneed>(table.data() + pos);
    std::uint64_t aux_pos = checked_add(pos, need.vn_aux, start);
    for (unsigned j = 0; j < need.vn_cnt; ++j) {
      if (++steps > kMaxVersions) throw ParseError("version table: links without end", start);
      check(aux_pos, sizeof(Elf64_Vernaux));
      const auto aux = load<Elf64_Vernaux>(table.data() + aux_pos);
      const auto version = glibc_version(string_at(strings, aux.vna_name, "version name", strings_at));
      if (version && (!out.glibc || *version > *out.glibc)) out.glibc = version;
      if (aux.vna_next == 0) break;
      aux_pos = checked_add(aux_pos, aux.vna_next, start);
    }
    if (need.vn_next == 0) break;
    pos = checked_add(pos, need.vn_next, start);
  }
}

}  // namespace

Bytes view_table(const Windows& file, const ElfTable& table, const char* what) {
  return table.size == 0 ? Bytes{} : file.view(table.offset, table.size, what);
}

ElfDynamic read_dynamic(const Windows& file, const Elf& elf) {
  ElfDynamic out;
  const Segment* dynamic = elf.find_segment(PT_DYNAMIC);
  if (dynamic == nullptr || dynamic->filesz == 0) return out;
  const Tags tags = read_tags(file, elf, *dynamic);
  check_entry_size(tags, DT_RELAENT, sizeof(Elf64_Rela), "relocation size (DT_RELAENT)");
  check_entry_size(tags, kDtRelrent, sizeof(std::uint64_t), "packed relocation size (DT_RELRENT)");
  check_entry_size(tags, DT_SYMENT, sizeof(Elf64_Sym), "symbol size (DT_SYMENT)");
  out.rela = table_of(elf, tags, DT_RELA, DT_RELASZ, "relocation table (DT_RELA)");
  out.relr = table_of(elf, tags, kDtRelr, kDtRelrsz, "packed relocation table (DT_RELR)");
  out.android_packed = tags.values.contains(kDtAndroidRela) || tags.values.contains(kDtAndroidRel);
  if (tags.values.contains(DT_SYMTAB))
    out.symtab = elf.mapped_offset(tags.get(DT_SYMTAB), sizeof(Elf64_Sym), "symbol table (DT_SYMTAB)", tags.at);
  const ElfTable names = table_of(elf, tags, DT_STRTAB, DT_STRSZ, "dynamic string table (DT_STRTAB)");
  const Bytes strings = view_table(file, names, "dynamic string table");
  for (const std::uint64_t name : tags.needed)
    out.needed.push_back(string_at(strings, name, "needed library (DT_NEEDED)", names.offset));
  if (tags.values.contains(DT_SONAME))
    out.soname = string_at(strings, tags.get(DT_SONAME), "library name (DT_SONAME)", names.offset);
  read_versions(file, elf, tags, strings, names.offset, out);
  out.offset = tags.at;
  out.tags = std::move(tags.values);
  return out;
}

}  // namespace shim
