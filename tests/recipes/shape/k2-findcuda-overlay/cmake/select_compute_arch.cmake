# Shape only: written for the test. A private copy that reads one digit before the dot.
function(CUDA_SELECT_NVCC_ARCH_FLAGS out_variable)
  foreach(name ${ARGN})
    if(NOT name MATCHES "^([0-9]\\.[0-9](\\([0-9]\\.[0-9]\\))?)$")
      message(SEND_ERROR "${name}: not known")
    endif()
  endforeach()
endfunction()
