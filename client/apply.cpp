#include "client/apply.hpp"

#include "client/values.hpp"

#include <fmt/format.h>

namespace squall::client {

namespace {

result<> send(cluster& to, const upload& file, const apply_options& options) {
  // The key names the bytes, so what is there is the same.
  if (const auto there = to.kv().stat(file.key); there.ok() && there->size_bytes == file.size_bytes)
    return {};
  SQUALL_ASSIGN(bytes, read_file(file.file.string()));
  kv_put_options put;
  if (options.progress)
    put.progress = [&](std::uint64_t done, std::uint64_t) { options.progress(file, done); };
  return to.kv().put(file.key, bytes, put);
}

error at(const std::string& where, error e) {
  e.message = where + ": " + e.message;
  return e;
}

} // namespace

result<> apply(cluster& to, const spec_document& document, const apply_options& options) {
  for (const upload& file : document.uploads)
    if (auto sent = send(to, file, options); !sent.ok())
      return at(file.file.string(), std::move(sent).error());
  const auto* function = std::get_if<functions::function_spec>(&document.spec);
  auto registered = function ? to.register_function(*function, options.replace)
                             : to.register_dag(std::get<functions::dag_spec>(document.spec), options.replace);
  if (!registered.ok())
    return at(document.where, std::move(registered).error());
  return {};
}

result<> apply(cluster& to, const std::vector<spec_document>& documents, const apply_options& options) {
  for (const bool functions : {true, false})
    for (const spec_document& document : documents)
      if (document.is_function() == functions)
        SQUALL_TRY(apply(to, document, options));
  return {};
}

} // namespace squall::client
