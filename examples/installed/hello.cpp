// Registers a function in native code and a DAG of it, then calls the DAG: results as futures, and by callback.
//
//   hello LIBRARY      the cluster is the one on this host, or that of $SQUALL_CLUSTER
#include <squall/client/apply.hpp>
#include <squall/client/cluster.hpp>
#include <squall/client/discovery.hpp>
#include <squall/client/spec_file.hpp>

#include <cstdlib>
#include <filesystem>
#include <future>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

namespace {

/// The value, or the end of the program with the reason.
template <class T>
T value_or_exit(squall::result<T> r) {
  if (r.ok())
    return std::move(r).value();
  std::cerr << "hello: " << squall::to_string(r.error().code) << ": " << r.error().message << '\n';
  std::exit(1);
}

void check(const squall::result<>& r) {
  if (r.ok())
    return;
  std::cerr << "hello: " << squall::to_string(r.error().code) << ": " << r.error().message << '\n';
  std::exit(1);
}

std::string specs(const std::string& library) {
  return R"(
apiVersion: squall/v1
kind: Function
metadata: {name: shout}
spec:
  inputs:  {text: {datatype: BYTES, shape: [-1]}}
  outputs: {loud: {datatype: BYTES, shape: [-1]}}
  repeatable: true
  variants: [{library: ")" +
         library + R"("}]
---
apiVersion: squall/v1
kind: Dag
metadata: {name: hello}
spec:
  inputs:  {text: {datatype: BYTES, shape: [-1]}}
  stages:  [{name: loud, function: shout, inputs: {text: $text}}]
  outputs: {text: loud.loud}
)";
}

std::string text_of(const squall::client::call_result& ended) {
  check(ended.status());
  return std::string{value_or_exit(squall::functions::first_text(*ended.find("text")))};
}

} // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: hello LIBRARY      (shout.so, built beside this program)\n";
    return 2;
  }
  using squall::functions::scalar_value;
  const char* where = std::getenv("SQUALL_CLUSTER");
  const auto cluster =
      value_or_exit(squall::client::cluster::connect(value_or_exit(squall::client::find_cluster(where ? where : ""))));
  const auto library = std::filesystem::absolute(argv[1]).string();
  check(squall::client::apply(*cluster, value_or_exit(squall::client::parse_specs(specs(library), "hello", "."))));

  // Calls are asynchronous: all of them run before the first is waited for.
  std::vector<squall::client::call_handle> calls;
  for (const char* name : {"anna", "otto"})
    calls.push_back(cluster->call("hello", {{"text", scalar_value("hello " + std::string{name})}}));
  for (const auto& call : calls)
    std::cout << text_of(call.get()) << '\n';

  // A connection may be used by many threads. Callbacks come from its own thread: they are short, and do not wait.
  std::promise<std::string> heard;
  std::thread{[&] {
    cluster->call("hello", {{"text", scalar_value("hello from a thread")}})
        .on_done([&heard](const squall::client::call_result& ended) { heard.set_value(text_of(ended)); });
  }}.join();
  std::cout << heard.get_future().get() << '\n';
}
