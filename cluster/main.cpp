#include "client/cli/verbs.hpp"
#include "cluster/verbs.hpp"
#include "sim/verbs/verbs.hpp"

#include <CLI/CLI.hpp>
#include <bsd/unistd.h>

#include <string>
#include <vector>

/// The one binary: verbs of clients (client/cli), of processes (cluster) and of the simulator (sim/verbs) on one
/// command line. Exit status: 0 ok, 1 failed, 2 wrong usage.
int main(int argc, char** argv) {
  ::setproctitle_init(argc, argv, environ);
  CLI::App app{"Squall serves DAGs of functions and models, and keeps its promises."};
  app.name("squall");
  app.require_subcommand(1);
  app.fallthrough();
  int status = 0;
  squall::client::cli::verb_context context{status};
  squall::client::cli::add_client_verbs(app, context);
  squall::cluster::add_cluster_verbs(app, std::vector<std::string>(argv, argv + argc), status);
  squall::sim::add_sim_verbs(app, status);
  squall::sim::add_whatif_verb(app, status);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  }
  return status;
}
