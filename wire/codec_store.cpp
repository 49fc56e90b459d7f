#include "wire/detail/codec_of.hpp"

SQUALL_CODEC_OF(squall::wire::store_put);
SQUALL_CODEC_OF(squall::wire::store_get);
SQUALL_CODEC_OF(squall::wire::store_delete);
SQUALL_CODEC_OF(squall::wire::store_list);
SQUALL_CODEC_OF(squall::wire::store_reply);
