// Which image of this module did the device run? Compiled for PTX of 8.0 and machine code of 12.1 (CMakeLists.txt).
#pragma once

#include <stdexcept>
#include <string>

namespace shim::cuda {

class CudaError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct SelfTest {
  int device_major = 0, device_minor = 0;
  std::string device_name;
  int image = 0;           // what the kernel wrote, see image_code() in selftest.cu
  int binary_version = 0;  // cudaFuncAttributes: SM of the machine code that ran, 121 for 12.1
  int ptx_version = 0;     // cudaFuncAttributes: virtual architecture it came from
};

// Runs one kernel on `device`. CudaError names the call that failed and NVIDIA's text.
SelfTest run_selftest(int device);

}  // namespace shim::cuda
