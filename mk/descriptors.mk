# The API's .proto files as one descriptor set, built into gatewayd for server reflection.
API_PROTOS = mesh.proto grpc/health/v1/health.proto grpc/reflection/v1/reflection.proto \
             grpc/reflection/v1alpha/reflection.proto

$(BUILD)/gen/gatewayd/descriptors.inc: $(addprefix proto/,$(API_PROTOS)) mk/descriptors.mk
	@mkdir -p $(@D)
	@echo "  PROTO  descriptors"
	@protoc -Iproto --descriptor_set_out=$(@:.inc=.bin) $(API_PROTOS)
	@od -An -v -tx1 $(@:.inc=.bin) | sed 's/ \([0-9a-f][0-9a-f]\)/0x\1,/g' > $@

$(BUILD)/gatewayd/descriptors.o: | $(BUILD)/gen/gatewayd/descriptors.inc
