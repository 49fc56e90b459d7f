// The first call of a Python function that no process has loaded, against a fork by a bare zygote (an interpreter with
// numpy) into a sandbox up to the worker's first message: median, all processes on one core. As in coldstart.cpp, once
// with a worker to spare and once in a row.
#include "bench/native/calls.hpp"
#include "bench/python/parts.hpp"

using namespace squall;
using namespace squall::bench;

int main(int argc, char** argv) {
  const settings s = parse(argc, argv);
  pin_to_one_core();
  const std::size_t count = s.size(30, 3);
  const python_functions functions;
  std::vector<double> forks;
  {
    bare_zygote zygote;
    for (std::size_t i = 0; i < count; ++i)
      forks.push_back(zygote.fork_us());
  }
  const running_cluster cluster{1, "fifo"};
  fnv1a work;
  const auto client = connect_with_no_ops(cluster);
  const auto file = functions.file("passing").string();
  const auto registered = [&](const std::string& name) {
    register_code(*client, name, functions::variant_kind::python, file, {});
  };
  report_first_calls(s, "coldstart-python", *client, registered, count, median(std::move(forks)), work);
}
