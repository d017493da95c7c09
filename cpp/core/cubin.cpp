#include "cubin.hpp"

#include <algorithm>
#include <unordered_map>

namespace shim {

namespace {

constexpr std::uint32_t kElfMagic = 0x464C457F;
constexpr std::uint32_t kSymtab = 2;
// Sections without bytes in the file: SHT_NOBITS, and NVIDIA's own types for .nv.global, .nv.local and .nv.shared
// (measured: cubins of CUDA 11.8 in a bitsandbytes wheel have them at offsets that leave the image).
constexpr bool is_nobits(std::uint32_t type) {
  return type == 8 || type == 0x70000007 || type == 0x70000009 || type == 0x7000000A;
}
constexpr std::uint32_t kCompatType = 0x70000086;
constexpr unsigned char kKernelFlag = 0x10;  // st_other of an entry function
// st_info & 0xF. Variables of relocatable cubins have NVIDIA's own type, and their space in st_other (measured, CUDA
// 13.0). The local ones are parameter spaces; those in shared memory are gone after the link.
constexpr unsigned kObject = 1, kFunction = 2, kCudaObject = 13;
constexpr unsigned kShared = 2;  // st_other >> 5
constexpr std::uint8_t kParamInfo = 0x17;    // .nv.info attribute KPARAM_INFO

struct Section {
  std::string_view name;  // in the image
  std::uint32_t type;
  std::uint64_t offset, size;
  std::uint32_t link;
};

struct Reader {
  Windows file;
  // Bytes of names and attributes that will still be read. Those of a real cubin are a fraction of it; sections that lie
  // on top of each other would make a small file take hours and gigabytes.
  std::uint64_t budget;

  explicit Reader(Bytes image) : file(Windows::whole(image)), budget(8 * image.size()) {}

  void charge(std::uint64_t size, std::uint64_t where) {
    if (size > budget) throw ParseError("cubin: its names and attributes overlap", where);
    budget -= size;
  }

  std::string_view text(const Section& table, std::uint64_t offset) {
    const Bytes bytes = file.view(table.offset, table.size, "cubin string table");
    if (offset >= bytes.size()) throw ParseError("cubin: name outside its string table", table.offset);
    const auto rest = bytes.subspan(offset);
    const auto* start = reinterpret_cast<const char*>(rest.data());  // bytes to characters, no integer is formed
    const std::size_t length = ::strnlen(start, rest.size());
    if (length == rest.size()) throw ParseError("cubin: name does not end inside its string table", table.offset);
    charge(length, table.offset + offset);
    return {start, length};
  }

  Bytes attributes(const Section& info) {
    charge(info.size, info.offset);
    return file.view(info.offset, info.size, ".nv.info");
  }

  void check_segments() const {
    const auto phoff = file.at<std::uint64_t>(32, "cubin header");
    const auto entry = file.at<std::uint16_t>(54, "cubin header");
    const auto count = file.at<std::uint16_t>(56, "cubin header");
    if (count != 0) file.view(phoff, std::uint64_t{count} * entry, "cubin program headers");
  }

  std::vector<Section> sections() {
    const auto shoff = file.at<std::uint64_t>(40, "cubin header");
    const auto entry = file.at<std::uint16_t>(58, "cubin header");
    const auto count = file.at<std::uint16_t>(60, "cubin header");
    const auto names = file.at<std::uint16_t>(62, "cubin header");
    if (count == 0) return {};
    if (entry != 64) throw ParseError("cubin: section header size " + std::to_string(entry) + ", expected 64", 58);
    const Bytes table = file.view(shoff, std::uint64_t{count} * entry, "cubin section headers");
    std::vector<Section> all;
    for (std::size_t i = 0; i < count; ++i) {
      const std::byte* p = table.data() + i * 64;
      Section s{{}, load<std::uint32_t>(p + 4), load<std::uint64_t>(p + 24), load<std::uint64_t>(p + 32),
                load<std::uint32_t>(p + 40)};
      if (!is_nobits(s.type) && s.type != 0 && !inside(s.offset, s.size, file.file_size())) {
        throw ParseError("cubin: section " + std::to_string(i) + " of " + std::to_string(s.size) + " bytes at " +
                             std::to_string(s.offset) + " leaves the image of " + std::to_string(file.file_size()),
                         shoff + i * 64);
      }
      all.push_back(std::move(s));
    }
    if (names >= count) throw ParseError("cubin: section name table index " + std::to_string(names), 62);
    for (std::size_t i = 0; i < count; ++i) {
      all[i].name = text(all[names], load<std::uint32_t>(table.data() + i * 64));
    }
    return all;
  }
};

// Parameter (ordinal, size) pairs of one kernel, from its .nv.info section. Records: format, attribute, then a 16-bit
// value or length; format 4 has that many bytes behind it. KPARAM_INFO: u32 index, u16 ordinal, u16 offset, and a word
// whose bits 18-31 are the size.
std::vector<std::pair<std::uint16_t, std::uint32_t>> parameters(Bytes info) {
  std::vector<std::pair<std::uint16_t, std::uint32_t>> found;
  std::size_t at = 0;
  while (at + 4 <= info.size()) {
    const auto format = load<std::uint8_t>(info.data() + at);
    const auto attribute = load<std::uint8_t>(info.data() + at + 1);
    const std::size_t length = format == 4 ? load<std::uint16_t>(info.data() + at + 2) : 0;
    if (!inside(at + 4, length, info.size())) break;
    if (attribute == kParamInfo && length >= 12) {
      found.emplace_back(load<std::uint16_t>(info.data() + at + 8), load<std::uint32_t>(info.data() + at + 12) >> 18);
    }
    at += 4 + length;
  }
  std::ranges::sort(found);
  return found;
}

// Value of a format-2 record of .nv.compat, 0 when absent.
unsigned compat_value(std::string_view compat, unsigned wanted) {
  std::size_t at = 0;
  while (at + 4 <= compat.size()) {
    const auto form = static_cast<unsigned char>(compat[at]);
    const auto attribute = static_cast<unsigned char>(compat[at + 1]);
    if (form == 2 && attribute == wanted) return static_cast<unsigned char>(compat[at + 2]);
    if (form == 4) {
      at += static_cast<std::size_t>(static_cast<unsigned char>(compat[at + 2])) |
            static_cast<std::size_t>(static_cast<unsigned char>(compat[at + 3])) << 8;
    } else if (form != 2 && form != 3) {
      return 0;
    }
    at += 4;
  }
  return 0;
}

}  // namespace

bool is_cubin(Bytes file) {
  return file.size() >= 64 && load<std::uint32_t>(file.data()) == kElfMagic &&
         load<std::uint8_t>(file.data() + 4) == 2 && load<std::uint8_t>(file.data() + 5) == 1 &&
         load<std::uint16_t>(file.data() + 18) == kMachineCuda;
}

Cubin parse_cubin(Bytes image) {
  if (!is_cubin(image)) throw ParseError("not a cubin: expected a 64-bit little-endian ELF with e_machine 190", 0);
  Reader reader(image);
  reader.check_segments();
  Cubin cubin;
  cubin.abi = load<std::uint8_t>(image.data() + 8);
  cubin.linked = load<std::uint16_t>(image.data() + 16) == 2;
  const auto flags = load<std::uint32_t>(image.data() + 48);
  cubin.arch = cubin.abi >= 8 ? (flags >> 8) & 0xFF : flags & 0xFF;
  if ((flags & (cubin.abi >= 8 ? 0x8u : 0x800u)) != 0) cubin.feature = 'a';

  const std::vector<Section> sections = reader.sections();
  std::unordered_map<std::string_view, const Section*> infos;
  for (const Section& s : sections) {
    if (s.name.starts_with(".nv.info.")) infos.emplace(s.name.substr(9), &s);
    if (s.type == kCompatType && cubin.compat.empty()) {
      const Bytes bytes = reader.file.view(s.offset, s.size, ".nv.compat");
      const auto* start = reinterpret_cast<const char*>(bytes.data());  // bytes to characters, no integer is formed
      cubin.compat.assign(start, bytes.size());
      if (compat_value(cubin.compat, 9) == 1) cubin.feature = 'a';
    }
  }
  for (const Section& s : sections) {
    if (s.type != kSymtab) continue;
    if (s.link >= sections.size()) throw ParseError("cubin: symbol table without a string table", s.offset);
    const Bytes table = reader.file.view(s.offset, s.size, "cubin symbol table");
    for (std::size_t at = 0; at + 24 <= table.size(); at += 24) {
      const std::byte* p = table.data() + at;
      const unsigned type = load<std::uint8_t>(p + 4) & 0xFU;
      const bool transient = load<std::uint8_t>(p + 4) >> 4 == 0 || load<std::uint8_t>(p + 5) >> 5 == kShared;
      const bool defined = load<std::uint16_t>(p + 6) != 0;
      if (!defined || (type != kObject && type != kFunction && (type != kCudaObject || transient))) continue;
      CubinSymbol symbol;
      symbol.name = reader.text(sections[s.link], load<std::uint32_t>(p));
      symbol.function = type == kFunction;
      symbol.kernel = symbol.function && (load<std::uint8_t>(p + 5) & kKernelFlag) != 0;
      symbol.size = load<std::uint64_t>(p + 16);
      if (const auto info = infos.find(symbol.name); symbol.kernel && info != infos.end()) {
        symbol.parameters = parameters(reader.attributes(*info->second));
      }
      cubin.symbols.push_back(std::move(symbol));
    }
  }
  return cubin;
}

}  // namespace shim
