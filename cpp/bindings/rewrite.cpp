// Python face of the writer: fatbin entries and containers, rewriting ELF files, and the ELF questions tests ask.
// No logic here: arguments are taken apart, the GIL is released, the core is called.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <pybind11/stl/filesystem.h>

#include <deque>
#include <exception>
#include <filesystem>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "bindings.hpp"
#include "elf_dynamic.hpp"
#include "elf_slots.hpp"
#include "entry.hpp"
#include "rewrite.hpp"

namespace py = pybind11;

namespace shim {

namespace {

py::bytes to_bytes(const std::vector<std::byte>& data) {
  return {reinterpret_cast<const char*>(data.data()), data.size()};
}

// A bytes-like object, (offset, size) of the source, or a path.
Piece to_piece(const py::handle& object, std::deque<BufferView>& held) {
  if (py::isinstance<py::buffer>(object)) return held.emplace_back(object.cast<py::buffer>()).bytes();
  if (py::isinstance<py::tuple>(object)) {
    const auto [offset, size] = object.cast<std::pair<std::uint64_t, std::uint64_t>>();
    return SourceRange{offset, size};
  }
  return WholeFile{object.cast<std::filesystem::path>().string()};
}

std::vector<ContainerEdit> to_edits(const py::sequence& edits, std::deque<BufferView>& held) {
  std::vector<ContainerEdit> out;
  for (const py::handle edit : edits) {
    const auto [offset, wrappers, pieces] =
        edit.cast<std::tuple<std::uint64_t, std::vector<std::uint64_t>, py::sequence>>();
    ContainerEdit& added = out.emplace_back();
    added.offset = offset;
    added.wrappers = wrappers;
    for (const py::handle piece : pieces) added.pieces.push_back(to_piece(piece, held));
  }
  return out;
}

Layout to_layout(const std::string& name) {
  for (const Layout layout : {Layout::Repack, Layout::Append, Layout::Move})
    if (name == layout_name(layout)) return layout;
  throw py::value_error("layout: expected 'repack', 'append' or 'move', found '" + name + "'");
}

RewriteResult py_rewrite_containers(const std::filesystem::path& src, const std::filesystem::path& dst,
                                    const py::sequence& edits, const std::string& layout) {
  std::deque<BufferView> held;
  const auto parsed = to_edits(edits, held);
  const Layout wanted = to_layout(layout);
  const py::gil_scoped_release release;
  return rewrite_containers(src.string(), dst.string(), parsed, wanted);
}

py::bytes py_make_entry(std::uint16_t kind, std::uint32_t arch, const std::string& suffix, const py::buffer& image,
                        const std::optional<py::buffer>& compressed, const std::string& name,
                        const std::string& options, bool debug) {
  if (suffix.size() > 1) throw py::value_error("entry: suffix must be 'a', 'f' or ''");
  const BufferView held(image);
  std::optional<BufferView> held_compressed;
  EntrySpec spec;
  spec.kind = kind;
  spec.arch = arch;
  spec.suffix = suffix.empty() ? '\0' : suffix.front();
  spec.image = held.bytes();
  if (compressed) spec.compressed = held_compressed.emplace(*compressed).bytes();
  spec.name = name;
  spec.options = options;
  spec.debug = debug;
  std::vector<std::byte> entry;
  {
    const py::gil_scoped_release release;
    entry = make_entry(spec);
  }
  return to_bytes(entry);
}

py::bytes py_make_container(const py::sequence& entries) {
  std::deque<BufferView> held;
  std::vector<Bytes> parts;
  for (const py::handle entry : entries) parts.push_back(held.emplace_back(entry.cast<py::buffer>()).bytes());
  return to_bytes(make_container(parts));
}

std::vector<std::tuple<std::uint64_t, std::string, std::uint64_t>> elf_slots(const py::buffer& image,
                                                                             const std::vector<std::uint64_t>& slots) {
  const BufferView held(image);
  const py::gil_scoped_release release;
  const auto file = Windows::whole(held.bytes());
  const auto elf = parse_elf(file);
  std::vector<std::tuple<std::uint64_t, std::string, std::uint64_t>> out;
  for (const auto& slot : resolve_slots(file, elf, read_dynamic(file, elf), slots))
    out.emplace_back(slot.target, slot_kind_name(slot.how), slot.rela_file_offset);
  return out;
}

std::vector<std::tuple<std::uint32_t, std::uint64_t>> elf_object_slots(const py::buffer& image, std::uint32_t section,
                                                                       const std::vector<std::uint64_t>& slots) {
  const BufferView held(image);
  const py::gil_scoped_release release;
  const auto file = Windows::whole(held.bytes());
  const auto elf = parse_elf(file);
  std::vector<std::tuple<std::uint32_t, std::uint64_t>> out;
  for (const auto& slot : resolve_object_slots(file, elf, section, slots))
    out.emplace_back(slot.section, slot.offset);
  return out;
}

py::tuple elf_needs(const py::buffer& image) {
  const BufferView held(image);
  const auto file = Windows::whole(held.bytes());
  const auto dynamic = read_dynamic(file, parse_elf(file));
  return py::make_tuple(dynamic.needed, dynamic.soname, dynamic.glibc);
}

void register_errors(py::module_& m) {
  PYBIND11_CONSTINIT static py::gil_safe_call_once_and_store<py::object> refused;
  refused.call_once_and_store_result(
      [&]() -> py::object { return py::exception<RefusedError>(m, "RewriteRefused", PyExc_ValueError); });
  py::register_exception_translator([](std::exception_ptr p) {
    try {
      if (p) std::rethrow_exception(p);
    } catch (const RefusedError& e) {
      const py::object raised = refused.get_stored()(e.what());
      raised.attr("offset") = e.offset();
      PyErr_SetObject(refused.get_stored().ptr(), raised.ptr());
    }
  });
}

void register_result(py::module_& m) {
  py::class_<RewriteResult>(m, "RewriteResult", "What rewrite_containers did. All offsets are file offsets in bytes.")
      .def_property_readonly(
          "layout", [](const RewriteResult& r) { return layout_name(r.layout); }, "'repack', 'append' or 'move'.")
      .def_readonly("original_size", &RewriteResult::original_size)
      .def_readonly("size", &RewriteResult::size, "Size of the new file.")
      .def_readonly("segment_offset", &RewriteResult::segment_offset)
      .def_readonly("segment_vaddr", &RewriteResult::segment_vaddr,
                    "Address of the new read-only segment; it and the offset are 0 for 'repack', which has none.")
      .def_readonly("containers", &RewriteResult::containers, "Offset of each edit's container, in order.")
      .def_readonly("moved", &RewriteResult::moved,
                    "(old offset, new offset) of the other containers of .nv_fatbin; none for 'append'.")
      .def_property_readonly(
          "old",
          [](const RewriteResult& r) {
            std::vector<std::tuple<std::uint64_t, std::uint64_t, std::int64_t>> out;
            for (const auto& range : r.old) out.emplace_back(range.offset, range.size, range.at);
            return out;
          },
          "(offset, size, offset in the new file or -1): the original from its first byte to its last.")
      .def_property_readonly(
          "slot", [](const RewriteResult& r) { return header_slot_name(r.slot); },
          "Where program headers came from: 'none' (none needed), 'unused', 'note' or 'moved' (the whole table moved).")
      .def_readonly("strip_unsafe", &RewriteResult::strip_unsafe,
                    "GNU strip and objcopy would damage the new file.")
      .def_readonly("cut", &RewriteResult::cut, "Bytes taken out of the middle of the file.");
}

}  // namespace

void register_rewrite(py::module_& m) {
  using namespace pybind11::literals;
  register_errors(m);
  register_result(m);
  m.def("rewrite_containers", &py_rewrite_containers, "src"_a, "dst"_a, "edits"_a, py::kw_only(), "layout"_a,
        "Copy the linked ELF file `src` to `dst` (which must not exist; mode bits are kept), with other fatbin\n"
        "containers.\n\n"
        "edits: sequence of (offset, wrappers, pieces). offset: of the old container. wrappers: file offsets of the\n"
        "24-byte wrappers that lead to it and will share the new one: all of them, or with 'append' some. pieces: the\n"
        "new container's bytes in order, each a bytes-like object, a tuple (offset, size) of a range of `src`, or the\n"
        "path of a file taken whole; the first holds the container header.\n"
        "layout: 'repack' (all containers of .nv_fatbin anew in their section, free pages cut out), 'append' (the\n"
        "edited ones in a new segment) or 'move' (all in a new segment, the old section cut out).\n"
        "Raises RewriteRefused (a ValueError; `.offset`), ParseError, ValueError (bad edits), OSError; then there is\n"
        "no dst.");
  m.def("make_entry", &py_make_entry, py::kw_only(), "kind"_a, "arch"_a, "suffix"_a = "", "image"_a,
        "compressed"_a = py::none(), "name"_a = "", "options"_a = "", "debug"_a = false,
        "One fatbin entry as fatbinary writes it.\n\n"
        "kind: 1 PTX (image = text and its one NUL), 2 cubin. arch: 121; suffix: 'a', 'f' or ''.\n"
        "compressed: zstd frame of image (fatbinary uses level 5, or 19 for size), None = stored.\n"
        "name: --ident text. options: ptxas options (PTX). Version fields and .nv.compat are taken from the image.\n"
        "Raises ValueError when arch or suffix disagree with the cubin, ParseError when the image is malformed.");
  m.def("make_container", &py_make_container, "entries"_a,
        "A fatbin container of complete entries (bytes-like). Raises ParseError when the sizes in one disagree with\n"
        "its length.");
  m.def(
      "make_container_header", [](std::uint64_t size) { return to_bytes(make_container_header(size)); },
      "entries_size"_a, "The 16-byte header of a container whose entries take `entries_size` bytes.");
  m.def("elf_slots", &elf_slots, "image"_a, "slots"_a,
        "What the 8-byte pointers at these virtual addresses hold after loading, as (address, 'rela' | 'relr' |\n"
        "'in-place' | 'symbol', file offset of the relocation record or 0). image: a whole linked ELF file.\n"
        "Raises ParseError.");
  m.def("elf_object_slots", &elf_object_slots, "image"_a, "section"_a, "slots"_a,
        "The same for an unlinked object: offsets in section number `section` -> (section number, offset).\n"
        "Raises ParseError.");
  m.def("elf_needs", &elf_needs, "image"_a,
        "(needed libraries, soname, highest GLIBC_x.y as a pair or None) of an ELF file. Raises ParseError.");
}

}  // namespace shim
