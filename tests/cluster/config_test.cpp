#include "cluster/config.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace squall::cluster {
namespace {

/// Writes a file that is gone after the test.
class ClusterConfig : public ::testing::Test {
protected:
  result<cluster_config> load(const std::string& text) {
    std::ofstream{path_} << text;
    return load_cluster_config(path_);
  }
  void TearDown() override { std::filesystem::remove(path_); }

  std::string path_ = ::testing::TempDir() + "/cluster-config-" +
                      ::testing::UnitTest::GetInstance()->current_test_info()->name() + ".yaml";
};

TEST_F(ClusterConfig, ReadsAWholeFile) {
  const auto config = load(R"(
apiVersion: squall/v1
kind: Cluster
metadata: {name: demo}
spec:
  data: /tmp/demo
  http: 127.0.0.1:8000
  policy: balance
  default-deadline: 5s
  nodes:
  - {name: n1, slots: 2, memory: 2GiB}
  - {name: n2}
)");
  ASSERT_TRUE(config.ok()) << config.error().message;
  EXPECT_EQ(config->name, "demo");
  EXPECT_EQ(config->policy, "balance");
  EXPECT_EQ(config->default_deadline, std::chrono::seconds{5});
  ASSERT_EQ(config->nodes.size(), 2u);
  EXPECT_EQ(config->nodes[0].slots, 2u);
  EXPECT_EQ(config->nodes[0].memory_bytes, 2ull << 30);
  EXPECT_EQ(config->nodes[1].slots, 0u);
}

TEST_F(ClusterConfig, ReadsWhoStandsBy) {
  const std::string head = "apiVersion: squall/v1\nkind: Cluster\nspec:\n  nodes: [{name: a}]\n";
  EXPECT_EQ(load(head)->lease, duration{0}) << "the only controller asks nobody";
  const auto config = load(head + "  standby:\n  - {listen: 'tcp://10.0.0.2:7700', http: '10.0.0.2:8000'}\n");
  ASSERT_TRUE(config.ok()) << config.error().message;
  ASSERT_EQ(config->standby.size(), 1u);
  EXPECT_EQ(config->standby[0].listen, "tcp://10.0.0.2:7700");
  EXPECT_EQ(config->standby[0].http, "10.0.0.2:8000");
  EXPECT_EQ(config->lease, std::chrono::seconds{3});
  EXPECT_EQ(load(head + "  lease: 2s\n")->lease, std::chrono::seconds{2});
  const auto hasty = load(head + "  lease: 10ms\n");
  ASSERT_FALSE(hasty.ok());
  EXPECT_NE(hasty.error().message.find("from 500ms"), std::string::npos) << hasty.error().message;
  EXPECT_FALSE(load("apiVersion: squall/v1\nkind: Cluster\nspec:\n  standby: [{}]\n").ok());
}

TEST_F(ClusterConfig, NamesAnUnknownKeyWithItsLine) {
  const auto config = load("apiVersion: squall/v1\nkind: Cluster\nspec:\n  polcy: rr\n");
  ASSERT_FALSE(config.ok());
  EXPECT_NE(config.error().message.find(":4:"), std::string::npos) << config.error().message;
  EXPECT_NE(config.error().message.find("polcy"), std::string::npos) << config.error().message;
  EXPECT_NE(config.error().message.find("policy"), std::string::npos)
      << "it should suggest the nearest key: " << config.error().message;
}

TEST_F(ClusterConfig, RefusesTwoNodesOfOneName) {
  const auto config = load("apiVersion: squall/v1\nkind: Cluster\nspec:\n  nodes: [{name: a}, {name: a}]\n");
  ASSERT_FALSE(config.ok());
  EXPECT_NE(config.error().message.find("two nodes are named 'a'"), std::string::npos) << config.error().message;
}

TEST_F(ClusterConfig, RefusesWrongTypesAndKinds) {
  EXPECT_FALSE(load("apiVersion: squall/v1\nkind: Dag\n").ok());
  EXPECT_FALSE(load("apiVersion: squall/v1\nkind: Cluster\nspec: {nodes: 3}\n").ok());
  EXPECT_FALSE(load("apiVersion: squall/v1\nkind: Cluster\nspec: {nodes: [{name: a, slots: many}]}\n").ok());
  EXPECT_FALSE(load("apiVersion: squall/v1\nkind: Cluster\nspec: {default-deadline: -1s}\n").ok());
}

TEST_F(ClusterConfig, NamesAFileThatIsNotThere) {
  const auto config = load_cluster_config("/nowhere/cluster.yaml");
  ASSERT_FALSE(config.ok());
  EXPECT_EQ(config.error().code, errc::not_found);
}

} // namespace
} // namespace squall::cluster
