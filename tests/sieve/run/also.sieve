# Further recipients: besides the owner, besides others, and each once.
# sieve_perot_encrypt_certs = ~/own {dir}/certs
require ["vnd.perot.encrypt", "fileinto", "variables"];
set "other" "late@t.org";
if encrypt :force :also "${other}" { fileinto "the owner and one more"; }
if encrypt :force :also ["{me}", "${other}"] "me@domain.com" { fileinto "each once"; }
if encrypt :force :also "nobody@t.org" { fileinto "not without the further one"; }
if encrypt :force :also "key" { fileinto "nor with one that is none"; }
