// SPDX-License-Identifier: GPL-2.0
// compare.cpp: the reverse maps side by side.
#include "cases.h"
#include "fixture.h"

#include "objrmap/text.h"

using namespace objr;
using namespace objr::test;

// Every scheme of the core is one that the runners make their cases of.
OBJR_TEST(runner_knows_every_scheme) {
#define OBJR_NAME_OF(scheme, unused) #scheme,
    static constexpr const char* kKnown[] = {OBJR_SCHEMES(OBJR_NAME_OF, )};
#undef OBJR_NAME_OF
    for (u32 n = 0; const char* name = scheme_name(n); n++) {
        bool known = false;
        for (const char* candidate : kKnown) {
            known = known || same_text(candidate, name);
        }
        OBJR_EXPECT(known);
    }
    OBJR_EXPECT(objr_test_has_scheme("classic"));
    OBJR_EXPECT(!objr_test_has_scheme("no such scheme"));
}
