// Python face of shim_core. No logic: arguments in, plain tuples out; the GIL is released around work on bytes.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cerrno>

#include "bindings.hpp"
#include "mapping.hpp"
#include "scan.hpp"

namespace py = pybind11;

namespace shim {

void register_rewrite(py::module_& m);  // rewrite.cpp
void register_device(py::module_& m);   // device.cpp

namespace {

py::bytes raw(const std::string& text) { return {text}; }

py::bytes raw(const std::vector<std::byte>& data) {
  return {reinterpret_cast<const char*>(data.data()), data.size()};
}

const char* format_name(Format format) {
  constexpr const char* names[] = {"none", "elf", "ar", "cubin", "fatbin", "ptx", "ltoir"};
  return names[static_cast<std::size_t>(format)];
}

const char* role_name(Role role) {
  constexpr const char* names[] = {"whole", "prelinked", "linked", "stub", "embedded", "unreferenced", "file"};
  return names[static_cast<std::size_t>(role)];
}

std::string feature_text(char feature) { return feature == 0 ? "" : std::string(1, feature); }

py::tuple entry_tuple(const Entry& e) {
  py::object group = py::none();
  if (e.grouped) group = py::make_tuple(e.group_offset, e.group_size);
  return py::make_tuple(e.kind, e.arch, e.offset, e.header_size, e.payload_size, e.compressed_size, e.decoded_size(),
                        e.major, e.minor, e.flags, raw(e.name), raw(e.options), raw(e.compat), raw(e.captured), group);
}

py::tuple container_tuple(const Report& report, std::size_t index) {
  if (index >= report.containers.size()) throw py::index_error();
  const ContainerInfo& c = report.containers[index];
  py::tuple entries(c.found.entries.size());
  for (std::size_t i = 0; i < c.found.entries.size(); ++i) entries[i] = entry_tuple(c.found.entries[i]);
  return py::make_tuple(c.found.offset, c.found.size, role_name(c.role), c.section, entries);
}

py::list group_list(const Report& report) {
  py::list out;
  for (const GroupInfo& g : report.groups) out.append(py::make_tuple(g.members, g.stored, g.decoded));
  return out;
}

py::list wrapper_list(const Report& report) {
  py::list out;
  for (const WrapperInfo& w : report.wrappers) {
    out.append(py::make_tuple(w.offset, w.version, slot_kind_name(w.how), w.target, w.container));
  }
  return out;
}

py::list loose_list(const Report& report) {
  py::list out;
  for (const LooseInfo& l : report.loose) {
    out.append(py::make_tuple(l.kind, l.arch, feature_text(l.feature), l.offset, l.size, l.section, l.major, l.minor));
  }
  return out;
}

py::list unknown_list(const Report& report) {
  py::list out;
  for (const UnknownRange& u : report.unknown) out.append(py::make_tuple(u.offset, u.size, u.section));
  return out;
}

Report scan_path(const std::string& path, const std::string& name) {
  const py::gil_scoped_release release;
  const FileMapping file(path);
  return Scan::of_mapping(file.bytes(), name, &FileMapping::drop);
}

py::tuple read_cubin(const py::buffer& data) {
  const BufferView view(data);
  Cubin cubin;
  {
    const py::gil_scoped_release release;
    cubin = parse_cubin(view.bytes());
  }
  py::list symbols;
  for (const CubinSymbol& s : cubin.symbols) {
    symbols.append(py::make_tuple(raw(s.name), s.function, s.kernel, s.size, s.parameters));
  }
  return py::make_tuple(cubin.abi, cubin.arch, feature_text(cubin.feature), cubin.linked, raw(cubin.compat), symbols);
}

py::tuple read_ptx(const py::buffer& data) {
  const BufferView view(data);
  PtxModule module;
  {
    const py::gil_scoped_release release;
    module = parse_ptx({reinterpret_cast<const char*>(view.bytes().data()), view.bytes().size()});
  }
  py::list kernels;
  for (const PtxKernel& k : module.kernels) {
    kernels.append(py::make_tuple(raw(k.name), k.body_size, k.instructions, k.parameters));
  }
  return py::make_tuple(module.major, module.minor, module.arch, feature_text(module.feature), kernels);
}

void register_errors(py::module_& m) {
  PYBIND11_CONSTINIT static py::gil_safe_call_once_and_store<py::object> parse_error;
  parse_error.call_once_and_store_result(
      [&]() -> py::object { return py::exception<ParseError>(m, "ParseError", PyExc_ValueError); });
  py::register_exception_translator([](std::exception_ptr p) {
    try {
      if (p) std::rethrow_exception(p);
    } catch (const ParseError& e) {
      const py::tuple args = py::make_tuple(e.what(), e.offset());
      PyErr_SetObject(parse_error.get_stored().ptr(), args.ptr());
    } catch (const FileError& e) {
      errno = e.code().value();
      PyErr_SetFromErrnoWithFilename(PyExc_OSError, e.path.c_str());
    }
  });
}

void register_scan(py::module_& m) {
  py::class_<Report>(m, "Report")
      .def_property_readonly("format", [](const Report& r) { return format_name(r.format); })
      .def_readonly("machine", &Report::machine)
      .def_readonly("elf_type", &Report::elf_type)
      .def_readonly("needed", &Report::needed)
      .def_readonly("soname", &Report::soname)
      .def_readonly("glibc", &Report::glibc)
      .def_property_readonly("container_count", [](const Report& r) { return r.containers.size(); })
      .def("container", &container_tuple)
      .def("groups", &group_list)
      .def("wrappers", &wrapper_list)
      .def("loose", &loose_list)
      .def("unknown", &unknown_list);
  py::class_<Scan>(m, "Scan")
      .def(py::init<std::uint64_t, std::string>(), py::arg("size"), py::arg("name"))
      .def("feed",
           [](Scan& scan, const py::buffer& data) {
             const BufferView view(data);
             const py::gil_scoped_release release;
             scan.feed(view.bytes());
           })
      .def("end", &Scan::end, py::call_guard<py::gil_scoped_release>())
      .def("resolve",
           [](Scan& scan) -> std::optional<std::pair<std::uint64_t, std::uint64_t>> {
             const py::gil_scoped_release release;
             const auto range = scan.resolve();
             if (!range) return std::nullopt;
             return std::pair{range->offset, range->size};
           })
      .def("supply",
           [](Scan& scan, std::uint64_t offset, const py::buffer& data) {
             const BufferView view(data);
             scan.supply(offset, view.bytes());
           })
      .def("take", &Scan::take);
  m.def("scan_path", &scan_path, py::arg("path"), py::arg("name"));
  m.def("read_cubin", &read_cubin, py::arg("data"));
  m.def("read_ptx", &read_ptx, py::arg("data"));
}

}  // namespace

}  // namespace shim

PYBIND11_MODULE(_core, m, py::mod_gil_not_used()) {
  m.doc() = "Readers and writers of GPU code in files. Use shim.devicecode, its typed face.";
  shim::register_errors(m);
  shim::register_scan(m);
  shim::register_rewrite(m);
  shim::register_device(m);
}
