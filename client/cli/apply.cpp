#include "client/apply.hpp"

#include "client/cli/parts.hpp"
#include "client/units.hpp"

#include <fmt/format.h>

namespace squall::client::cli {

namespace {

struct apply_flags {
  std::vector<std::string> files;
  bool replace = false;
  bool dry_run = false;
};

result<> apply_files(session& session, const apply_flags& flags) {
  std::vector<spec_document> documents;
  for (const std::string& file : flags.files) {
    SQUALL_ASSIGN(loaded, load_spec_file(file));
    std::move(loaded.begin(), loaded.end(), std::back_inserter(documents));
  }
  std::unique_ptr<cluster> connection;
  if (!flags.dry_run) {
    SQUALL_ASSIGN(connected, session.connect());
    connection = std::move(connected);
  }
  apply_options options;
  options.replace = flags.replace;
  options.progress = [&](const upload& file, std::uint64_t done) {
    session.progress(fmt::format("sending {}: {} of {}", file.file.filename().string(), format_size(done), format_size(file.size_bytes)));
  };
  // Functions before the DAGs that use them.
  for (const bool functions : {true, false}) {
    for (const spec_document& document : documents) {
      if (document.is_function() != functions)
        continue;
      session.progress(fmt::format("applying {}", document.name()));
      if (connection)
        SQUALL_TRY(apply(*connection, document, options));
      session.progress_done();
      session.print(fmt::format("{} {} {}\n", functions ? "function" : "dag", document.name(), connection ? "applied" : "is well formed"));
    }
  }
  return {};
}

} // namespace

void add_apply_verb(CLI::App& app, const shared_session& session) {
  const auto flags = std::make_shared<apply_flags>();
  auto* verb = app.add_subcommand("apply", "register the functions and DAGs of spec files");
  verb->add_option("-f,--file", flags->files, "a spec file; may be repeated")->required()->envname("SQUALL_FILE");
  verb->add_flag("--replace", flags->replace, "replace what exists under the same name and version")->envname("SQUALL_REPLACE");
  verb->add_flag("--dry-run", flags->dry_run, "only read the files")->envname("SQUALL_DRY_RUN");
  verb->callback(session->run([session, flags] { return apply_files(*session, *flags); }));
}

} // namespace squall::client::cli
