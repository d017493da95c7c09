#include "cuda_probe.hpp"

#include <algorithm>
#include <array>

#include "library.hpp"

namespace shim {
namespace {

// Handles are plain ints in the driver API; the results are CUresult, an enum with int size.
using Init = int(unsigned);
using GetInt = int(int*);
using GetDevice = int(int*, int);
using GetText = int(char*, int, int);
using GetUuid = int(unsigned char*, int);
using GetAttribute = int(int*, int, int);
using GetMemory = int(std::size_t*, int);
using ErrorName = int(int, const char**);

constexpr int kMissing = -1;
constexpr int kMostDevices = 1024;  // a driver that counts more is not to be believed

std::string error_words(const DriverLibrary& library, int code) {
  const char* words = nullptr;
  if (auto* name = library.function<ErrorName>("cuGetErrorName"); name != nullptr && name(code, &words) == 0 && words)
    return words;
  return "error " + std::to_string(code);
}

std::string text_of(GetText* call, int device) {
  std::array<char, 256> buffer{};
  if (call == nullptr || call(buffer.data(), static_cast<int>(buffer.size()) - 1, device) != 0) return {};
  return buffer.data();
}

std::string uuid_of(const DriverLibrary& library, int device) {
  auto* call = library.function<GetUuid>("cuDeviceGetUuid_v2");
  if (call == nullptr) call = library.function<GetUuid>("cuDeviceGetUuid");
  std::array<unsigned char, 16> raw{};
  if (call == nullptr || call(raw.data(), device) != 0) return {};
  constexpr const char* kDigits = "0123456789abcdef";
  std::string out;
  for (const unsigned char byte : raw) {
    out += kDigits[byte >> 4];
    out += kDigits[byte & 15];
  }
  return out;
}

class Steps {
 public:
  Steps(const DriverLibrary& library, CudaProbe& out) : library_(library), out_(out) {}

  // Calls a function of the driver; notes the first failure.
  template <class Function, class... Args>
  bool call(const char* name, Args... args) {
    auto* function = library_.function<Function>(name);
    const int code = function == nullptr ? kMissing : function(args...);
    if (code == 0) return true;
    out_.step = name;
    out_.code = code;
    out_.words = function == nullptr ? "the library has no such function" : error_words(library_, code);
    return false;
  }

 private:
  const DriverLibrary& library_;
  CudaProbe& out_;
};

}  // namespace

CudaProbe probe_cuda(const std::vector<std::string>& candidates, const std::vector<int>& attributes) {
  CudaProbe out;
  const DriverLibrary library(candidates);
  if (!library) {
    out.step = "dlopen";
    out.words = library.error();
    return out;
  }
  out.library = library.path();
  Steps steps(library, out);
  // Works without cuInit, and still tells the version when that fails.
  if (auto* version = library.function<GetInt>("cuDriverGetVersion"); version != nullptr) version(&out.driver_cuda);
  int count = 0;
  if (!steps.call<Init>("cuInit", 0U) || !steps.call<GetInt>("cuDeviceGetCount", &count)) return out;
  auto* attribute = library.function<GetAttribute>("cuDeviceGetAttribute");
  auto* memory = library.function<GetMemory>("cuDeviceTotalMem_v2");
  for (int ordinal = 0; ordinal < std::min(count, kMostDevices); ++ordinal) {
    int handle = 0;
    if (!steps.call<GetDevice>("cuDeviceGet", &handle, ordinal)) return out;
    CudaDevice& device = out.devices.emplace_back();
    device.ordinal = ordinal;
    device.name = text_of(library.function<GetText>("cuDeviceGetName"), handle);
    device.bus_id = text_of(library.function<GetText>("cuDeviceGetPCIBusId"), handle);
    device.uuid = uuid_of(library, handle);
    std::size_t bytes = 0;
    if (memory != nullptr && memory(&bytes, handle) == 0) device.total_memory = bytes;
    for (const int number : attributes) {
      int value = 0;
      if (attribute != nullptr && attribute(&value, number, handle) == 0) device.attributes.emplace_back(number, value);
    }
  }
  return out;
}

}  // namespace shim
