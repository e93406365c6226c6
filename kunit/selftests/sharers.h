// SPDX-License-Identifier: GPL-2.0
//
// A pool full of pages that hundreds of processes share, and then somebody who needs memory: every page that reclaim takes has
// hundreds of mappings to be found.
#ifndef OBJRMAP_SELFTESTS_SHARERS_H
#define OBJRMAP_SELFTESTS_SHARERS_H

#include <string>

namespace sharers {

// Empty: all went well; else what did not. Leaves no process. *summary: what it has cost.
std::string run(unsigned processes, std::string* summary);

} // namespace sharers

#endif // OBJRMAP_SELFTESTS_SHARERS_H
