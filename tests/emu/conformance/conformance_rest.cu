#include "tests/emu/conformance/conformance.h"
const struct conformance_case cases_copies[] = {{0,0}}, cases_tma[] = {{0,0}}, cases_cluster[] = {{0,0}}, cases_wgmma[] = {{0,0}};
