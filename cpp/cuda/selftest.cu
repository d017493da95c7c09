#include <cuda_runtime.h>

#include "selftest.hpp"

namespace shim::cuda {

namespace {

// 1,000,000 x kind (1 plain, 2 family-specific, 3 architecture-specific) + __CUDA_ARCH__ of the compilation. PTX keeps the
// __CUDA_ARCH__ it was made with, so 1000800 means that the driver compiled the 8.0 PTX, 1001210 that 12.1 code ran.
__device__ constexpr int image_code() {
#if !defined(__CUDA_ARCH__)
  return 0;
#elif defined(__CUDA_ARCH_SPECIFIC__)
  return 3'000'000 + __CUDA_ARCH__;
#elif defined(__CUDA_ARCH_FAMILY_SPECIFIC__)
  return 2'000'000 + __CUDA_ARCH__;
#else
  return 1'000'000 + __CUDA_ARCH__;
#endif
}

// Every thread of the block adds its share, so that a wrong launch or a dead lane shows as a wrong sum.
__global__ void shim_which_image(int* image, int* sum) {
  atomicAdd(sum, static_cast<int>(threadIdx.x));
  if (threadIdx.x == 0) *image = image_code();
}

void check(cudaError_t code, const char* call) {
  if (code != cudaSuccess) throw CudaError(std::string(call) + ": " + cudaGetErrorName(code) + ": " + cudaGetErrorString(code));
}

class DeviceInts {
 public:
  explicit DeviceInts(int count) : bytes_(count * sizeof(int)) {
    check(cudaMalloc(&data_, bytes_), "cudaMalloc");
    check(cudaMemset(data_, 0, bytes_), "cudaMemset");
  }
  DeviceInts(const DeviceInts&) = delete;
  DeviceInts& operator=(const DeviceInts&) = delete;
  ~DeviceInts() { cudaFree(data_); }
  int* get() const { return data_; }

 private:
  std::size_t bytes_;
  int* data_ = nullptr;
};

}  // namespace

SelfTest run_selftest(int device) {
  constexpr int kThreads = 64;
  check(cudaSetDevice(device), "cudaSetDevice");
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, device), "cudaGetDeviceProperties");
  cudaFuncAttributes attributes{};
  check(cudaFuncGetAttributes(&attributes, shim_which_image), "cudaFuncGetAttributes");
  const DeviceInts out(2);
  shim_which_image<<<1, kThreads>>>(out.get(), out.get() + 1);
  check(cudaGetLastError(), "launch of shim_which_image");
  check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
  int host[2] = {0, 0};
  check(cudaMemcpy(host, out.get(), sizeof host, cudaMemcpyDeviceToHost), "cudaMemcpy");
  if (host[1] != kThreads * (kThreads - 1) / 2) {
    throw CudaError("shim_which_image: wrong sum " + std::to_string(host[1]) + ", the device computed nonsense");
  }
  return {properties.major, properties.minor, properties.name, host[0], attributes.binaryVersion, attributes.ptxVersion};
}

}  // namespace shim::cuda
