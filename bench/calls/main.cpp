// Squall's calls beside the same messages over plain ZeroMQ: the benches `call`, `call-pipelined` and `chain3`.
//
// bench/cluster_bench.py starts the cluster, in the same placement as this process, and tells where it is.

#include "base/hash.hpp"
#include "bench/calls/caller.hpp"
#include "bench/calls/hops.hpp"
#include "bench/calls/relay.hpp"
#include "bench/support.hpp"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <set>

namespace squall::bench {

namespace {
