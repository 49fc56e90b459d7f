#include "sim/verbs/vectors.hpp"

#include <cmath>
#include <cstdio>
#include <iostream>

namespace squall::sim {

using calls::json_node;

namespace {

std::string no_answer(const error& e) {
  calls::json_writer out;
  out.begin_object();
  out("error", e.message);
  out.end_object();
  return out.take();
}

} // namespace

int answer_lines(const std::function<result<std::string>(json_node)>& answer) {
  int status = 0;
  std::string line;
  for (std::size_t number = 1; std::getline(std::cin, line); ++number) {
    if (line.find_first_not_of(" \t\r") == std::string::npos)
      continue;
    const auto said = [&]() -> result<std::string> {
      SQUALL_ASSIGN(document, calls::json_document::parse(line));
      return answer(document.root());
    }();
    if (!said) {
      std::fprintf(stderr, "squall: line %zu: %s\n", number, said.error().message.c_str());
      status = 1;
    }
    const std::string out = said ? *said : no_answer(said.error());
    std::fwrite(out.data(), 1, out.size(), stdout);
    std::fputc('\n', stdout);
  }
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    std::fprintf(stderr, "squall: the answers could not be written\n");
    return 1;
  }
  return status;
}

result<json_node> need(json_node node, std::string_view name) {
  if (node.type() != json_node::kind::object)
    return {errc::invalid_argument, "expected an object with '" + std::string{name} + "'"};
  if (const auto found = node.find(name))
    return *found;
  return {errc::invalid_argument, std::string{name} + ": missing"};
}

std::optional<json_node> maybe(json_node node, std::string_view name) {
  if (node.type() != json_node::kind::object)
    return std::nullopt;
  const auto found = node.find(name);
  return found && !found->is_null() ? found : std::nullopt;
}

result<std::int64_t> whole(json_node node, const std::string& path, std::int64_t least, std::int64_t most) {
  std::optional<std::int64_t> n = node.as_int64();
  if (const auto d = node.as_double(); !n && d && *d == std::trunc(*d) && std::abs(*d) < 0x1p53)
    n = static_cast<std::int64_t>(*d);
  if (!n)
    return {errc::invalid_argument, path + ": expected a whole number"};
  if (*n < least || *n > most)
    return {errc::invalid_argument,
            path + ": " + std::to_string(*n) + " is not from " + std::to_string(least) + " to " + std::to_string(most)};
  return *n;
}

result<double> real(json_node node, const std::string& path) {
  const auto d = node.as_double();
  if (!d || !std::isfinite(*d))
    return {errc::invalid_argument, path + ": expected a number"};
  return *d;
}

result<std::string> text(json_node node, const std::string& path) {
  if (const auto s = node.as_string())
    return std::string{*s};
  return {errc::invalid_argument, path + ": expected a text"};
}

result<> need_array(json_node node, const std::string& path) {
  if (node.type() != json_node::kind::array)
    return {errc::invalid_argument, path + ": expected an array"};
  return {};
}

result<> need_array(json_node node, const std::string& path, std::size_t size) {
  SQUALL_TRY(need_array(node, path));
  if (node.size() != size)
    return {errc::invalid_argument,
            path + ": expected an array of " + std::to_string(size) + ", it has " + std::to_string(node.size())};
  return {};
}

} // namespace squall::sim
