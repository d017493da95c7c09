// Python face of the CUDA kernels. Compiled by the C++ compiler: nvcc never sees pybind11.
#include <pybind11/pybind11.h>

#include "selftest.hpp"

namespace py = pybind11;

PYBIND11_MODULE(_cuda, m, py::mod_gil_not_used()) {
  m.doc() = "CUDA kernels of shim. Importing needs no driver; calling does.";
  py::register_exception<shim::cuda::CudaError>(m, "CudaError", PyExc_RuntimeError);
  m.def(
      "selftest",
      [](int device) {
        shim::cuda::SelfTest result;
        {
          const py::gil_scoped_release release;
          result = shim::cuda::run_selftest(device);
        }
        return py::make_tuple(result.device_name, result.device_major, result.device_minor, result.image,
                              result.binary_version, result.ptx_version);
      },
      py::arg("device"), "Run one kernel; returns (name, major, minor, image code, binary version, PTX version).");
}
