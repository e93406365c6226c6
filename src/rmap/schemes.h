// SPDX-License-Identifier: GPL-2.0
// schemes.h: the schemes, one object each, stateless but for what they keep in the World's objects.
#pragma once

#include "objrmap/scheme.h"

namespace objr {

Scheme& chain();
Scheme& classic();
Scheme& anonmm();
Scheme& pte_chain();

} // namespace objr
