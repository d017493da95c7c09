// Asks the CUDA driver what devices there are. cuInit breaks the CUDA use of children forked later, so shim runs this in
// a process of its own (shim/device/child.py). Functions and attribute numbers: CUDA Driver API, "Device Management".
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace shim {

struct CudaDevice {
  int ordinal = 0;
  std::string name;
  std::string uuid;    // 32 hex digits; empty when the driver does not tell
  std::string bus_id;  // PCI, "0000:01:00.0"
  std::uint64_t total_memory = 0;                // bytes; 0 when unknown
  std::vector<std::pair<int, int>> attributes;  // (CUdevice_attribute, value) of those asked for that the driver knows
};

struct CudaProbe {
  std::string library;         // path; empty when none could be opened
  std::string step;            // the call that failed; empty when none did
  int code = 0;                // its CUresult
  std::string words;           // NVIDIA's name for it, or the loader's message
  int driver_cuda = 0;         // 13000 for 13.0; 0 when unknown
  std::vector<CudaDevice> devices;
};

// Never throws for what the driver does. `attributes`: the CUdevice_attribute numbers to read.
CudaProbe probe_cuda(const std::vector<std::string>& candidates, const std::vector<int>& attributes);

}  // namespace shim
