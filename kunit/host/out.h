// SPDX-License-Identifier: GPL-2.0
//
// out.h: where the core's text goes on the host.
#pragma once

#include <cstddef>
#include <string>

struct objr_out {
    std::string text;
    std::size_t most = ~std::size_t{0}; // bytes; what comes after is lost
};
