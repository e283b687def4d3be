#include "common/base/base64.h"

#include "common/base/buf.h"
#include "common/base/err.h"
#include "tests/unit/unit.h"

/* RFC 4648 section 10. */
static const struct {
	const char *plain, *std, *url;
} vectors[] = {
    {"", "", ""},
    {"f", "Zg==", "Zg"},
    {"fo", "Zm8=", "Zm8"},
    {"foo", "Zm9v", "Zm9v"},
    {"foob", "Zm9vYg==", "Zm9vYg"},
    {"fooba", "Zm9vYmE=", "Zm9vYmE"},
    {"foobar", "Zm9vYmFy", "Zm9vYmFy"},
    {"\xfb\xff\xfe", "+//+", "-__-"},
};

static void
one(const char *plain, const char *coded, enum base64_kind kind)
{
	uint8_t mem[64], back[64];
	size_t size = sizeof(back);
	struct buf out;

	buf_init_fixed(&out, mem, sizeof(mem));
	assert_int_equal(base64_encode(&out, kind, plain, strlen(plain)), 0);
	assert_int_equal(buf_left(&out), strlen(coded));
	assert_memory_equal(mem, coded, strlen(coded));
	assert_int_equal(base64_decode(coded, strlen(coded), kind, back, &size), 0);
	assert_int_equal(size, strlen(plain));
	assert_memory_equal(back, plain, size);
}

static void
both_ways(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(vectors); i++) {
		one(vectors[i].plain, vectors[i].std, BASE64_STD);
		one(vectors[i].plain, vectors[i].url, BASE64_URL);
	}
}

static void
one_spelling_only(void **state)
{
	static const char *const bad_url[] = {
	    "Z", "Zg==", "Zh", "Zm9", "Zm9vY", "Zm 9", "Zm9v\n", "+//+", "Zg="};
	static const char *const bad_std[] = {
	    "Zg", "Zg=", "Zh==", "Z===", "====", "=", "Zm9=", "Zm9v\n", "-__-", "Zg==Zg==", "Zg==\n", "Z=g="};
	uint8_t out[64];

	(void)state;
	for (size_t i = 0; i < COUNT(bad_url); i++) {
		size_t size = sizeof(out);

		assert_int_equal(
		    base64_decode(bad_url[i], strlen(bad_url[i]), BASE64_URL, out, &size), ERR_FORMAT);
	}
	for (size_t i = 0; i < COUNT(bad_std); i++) {
		size_t size = sizeof(out);

		assert_int_equal(
		    base64_decode(bad_std[i], strlen(bad_std[i]), BASE64_STD, out, &size), ERR_FORMAT);
	}
}

static void
room(void **state)
{
	uint8_t out[3];
	size_t size = 2;
	struct buf b;

	(void)state;
	assert_int_equal(base64_decode("Zm9v", 4, BASE64_URL, out, &size), ERR_LIMIT);
	size = 3;
	assert_int_equal(base64_decode("Zm9v", 4, BASE64_URL, out, &size), 0);
	buf_init_fixed(&b, out, sizeof(out));
	assert_int_equal(base64_encode(&b, BASE64_STD, "f", 1), ERR_LIMIT);
	assert_int_equal(base64_encode(&b, BASE64_URL, "fo", 2), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(both_ways),
	    cmocka_unit_test(one_spelling_only),
	    cmocka_unit_test(room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
