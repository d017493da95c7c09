// Python face of the driver probes. The GIL is released: a driver may take seconds to wake up.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "bindings.hpp"
#include "cuda_probe.hpp"
#include "nvml_probe.hpp"

namespace py = pybind11;

namespace shim {
namespace {

// Driver texts need not be UTF-8.
py::str text(const std::string& raw) {
  return py::reinterpret_steal<py::str>(
      PyUnicode_DecodeUTF8(raw.data(), static_cast<Py_ssize_t>(raw.size()), "replace"));
}

py::dict cuda_dict(const CudaProbe& probe) {
  py::list devices;
  for (const CudaDevice& device : probe.devices) {
    py::dict attributes;
    for (const auto& [number, value] : device.attributes) attributes[py::int_(number)] = value;
    py::dict one;
    one["ordinal"] = device.ordinal;
    one["name"] = text(device.name);
    one["uuid"] = text(device.uuid);
    one["bus_id"] = text(device.bus_id);
    one["total_memory"] = device.total_memory;
    one["attributes"] = attributes;
    devices.append(one);
  }
  py::dict out;
  out["library"] = text(probe.library);
  out["step"] = text(probe.step);
  out["code"] = probe.code;
  out["words"] = text(probe.words);
  out["driver_cuda"] = probe.driver_cuda;
  out["devices"] = devices;
  return out;
}

py::dict nvml_dict(const NvmlProbe& probe) {
  py::list devices;
  for (const NvmlDevice& device : probe.devices) {
    py::list unanswered;
    for (const std::string& words : device.unanswered) unanswered.append(text(words));
    py::dict one;
    one["index"] = device.index;
    one["name"] = text(device.name);
    one["uuid"] = text(device.uuid);
    one["capability"] = device.capability;
    one["total_memory"] = device.total_memory;
    one["mig"] = device.mig;
    one["unanswered"] = unanswered;
    devices.append(one);
  }
  py::dict out;
  out["library"] = text(probe.library);
  out["step"] = text(probe.step);
  out["code"] = probe.code;
  out["words"] = text(probe.words);
  out["driver"] = text(probe.driver);
  out["driver_cuda"] = probe.driver_cuda;
  out["devices"] = devices;
  return out;
}

}  // namespace

void register_device(py::module_& m) {
  using namespace pybind11::literals;
  m.def(
      "probe_cuda",
      [](const std::vector<std::string>& candidates, const std::vector<int>& attributes) {
        CudaProbe probe;
        {
          const py::gil_scoped_release release;
          probe = probe_cuda(candidates, attributes);
        }
        return cuda_dict(probe);
      },
      "candidates"_a, "attributes"_a,
      "Open libcuda by the first candidate that loads, call cuInit and list the devices. cuInit in a process breaks\n"
      "CUDA in children that it forks: use shim.detect(), which asks in a child. Never raises for what the driver does.");
  m.def(
      "probe_nvml",
      [](const std::vector<std::string>& candidates) {
        NvmlProbe probe;
        {
          const py::gil_scoped_release release;
          probe = probe_nvml(candidates);
        }
        return nvml_dict(probe);
      },
      "candidates"_a, "Open libnvidia-ml, list the devices and close it again. Never raises for what the driver does.");
}

}  // namespace shim
