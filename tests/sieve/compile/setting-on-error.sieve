# A setting with a wrong value.
# sieve_perot_encrypt_on_error = bounce
require "vnd.perot.encrypt";
encrypt "me@domain.com";
