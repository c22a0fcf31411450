//! Makes Rust's side of the contract with the C shim, and, with the feature `plugin`, compiles the
//! shim against the Dovecot headers that are installed.

use std::path::{Path, PathBuf};

fn main() {
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    contract(&out);
    #[cfg(feature = "plugin")]
    plugin::build(&out);
}

fn contract(out: &Path) {
    const HEADER: &str = "c-shim/perot-encrypt.h";
    println!("cargo::rerun-if-changed={HEADER}");
    let bindings = bindgen::Builder::default()
        .header(HEADER)
        .allowlist_file(".*perot-encrypt.h")
        .prepend_enum_name(false)
        .generate()
        .expect("bindgen reads the contract; it needs libclang (apt install libclang-dev)");
    bindings.write_to_file(out.join("contract.rs")).expect("OUT_DIR can be written");
}

#[cfg(feature = "plugin")]
mod plugin {
    use std::path::{Path, PathBuf};

    /// Everything that goes wrong here ends the build with one sentence.
    type Result<T> = std::result::Result<T, String>;

    const SHIM: [&str; 10] = [
        "sieve-perot-encrypt-plugin.c",
        SETTINGS,
        "ext-encrypt.c",
        "cmd-encrypt.c",
        "tst-encrypted.c",
        "perot-dovecot.c",
        "perot-message.c",
        "perot-outcome.c",
        "perot-existing.c",
        "perot-saved.c",
    ];
    /// Part of the plugin, which reads the settings, and the whole of the settings module of Dovecot 2.4.
    const SETTINGS: &str = "sieve-perot-encrypt-settings.c";

    pub fn build(out: &Path) {
        for watched in ["c-shim", "dovecot-headers"] {
            println!("cargo::rerun-if-changed={watched}");
        }
        if let Err(why) = try_build(out) {
            println!("cargo::error={why}");
        }
    }

    fn try_build(out: &Path) -> Result<()> {
        let include = include_dir()?;
        let host = probe(&include)?;
        println!("cargo::rustc-env=PEROT_PIGEONHOLE_ABI={}", host.pigeonhole_abi);

        let mut shim = compiler(&include, host.era);
        shim.files(SHIM.map(|name| Path::new("c-shim").join(name)));
        // Not `rustc-link-lib`: the tests of the library must link without Dovecot.
        shim.cargo_metadata(false).out_dir(out).try_compile("perot_shim").map_err(|e| e.to_string())?;
        println!("cargo::rustc-link-arg-cdylib={}", out.join("libperot_shim.a").display());
        // OpenSSL's library context and Rust's thread locals do not survive a dlclose().
        println!("cargo::rustc-link-arg-cdylib=-Wl,-z,nodelete,-z,relro,-z,now");

        if host.era == 24 {
            settings_module(&include, out)?;
        }
        Ok(())
    }

    /// Where Dovecot's headers are: asks `dovecot-config`, a file of shell variables that Dovecot
    /// installs beside its libraries.
    fn include_dir() -> Result<PathBuf> {
        println!("cargo::rerun-if-env-changed=DOVECOT_CONFIG");
        let named = std::env::var_os("DOVECOT_CONFIG").map(PathBuf::from);
        let usual = ["/usr/lib/dovecot", "/usr/lib64/dovecot", "/usr/local/lib/dovecot"];
        let config = named
            .or_else(|| usual.iter().map(|d| Path::new(d).join("dovecot-config")).find(|p| p.exists()))
            .ok_or(
                "Dovecot's headers are not installed: apt install dovecot-dev, or name its dovecot-config \
                 in the environment variable DOVECOT_CONFIG",
            )?;
        println!("cargo::rerun-if-changed={}", config.display());
        let text = std::fs::read_to_string(&config).map_err(|e| format!("{}: {e}", config.display()))?;
        let value = text.lines().find_map(|line| line.strip_prefix("dovecot_pkgincludedir="));
        Ok(PathBuf::from(value.unwrap_or("/usr/include/dovecot").trim_matches(['"', '\''])))
    }

    struct Host {
        /// 23 or 24
        era: u32,
        pigeonhole_abi: String,
    }

    fn probe(include: &Path) -> Result<Host> {
        let output = base_compiler(include).file("dovecot-headers/probe.h").try_expand().map_err(|_| {
            format!(
                "Dovecot's headers in {} cannot be used: apt install dovecot-dev (with Pigeonhole's headers in \
                 the folder sieve)",
                include.display()
            )
        })?;
        // Line markers stand between the words.
        let lines = String::from_utf8_lossy(&output);
        let words: Vec<&str> =
            lines.lines().filter(|line| !line.starts_with('#')).flat_map(str::split_whitespace).collect();
        let abi = |name: &str| {
            let version = words.windows(3).find(|w| w[..2] == ["PEROT_PROBE", name]).map(|w| w[2]);
            let version = version.and_then(|v| v.strip_prefix('"')?.strip_suffix('"'));
            version.map(str::to_owned).ok_or(format!("no ABI version of {name} in the headers"))
        };
        let dovecot = abi("dovecot")?;
        let era = match &dovecot[..dovecot.len().min(4)] {
            "2.3." => 23,
            "2.4." => 24,
            _ => {
                return Err(format!(
                    "the headers are of Dovecot {dovecot}: this version of perot-encrypt knows 2.3 and 2.4"
                ))
            }
        };
        Ok(Host { era, pigeonhole_abi: abi("pigeonhole")? })
    }

    fn base_compiler(include: &Path) -> cc::Build {
        let mut build = cc::Build::new();
        // The build script reads what the compiler prints; cargo should not.
        build.cargo_metadata(false).warnings(false).define("HAVE_CONFIG_H", None).define("_GNU_SOURCE", None);
        build.flag(format!("-isystem{}", include.display()));
        build.flag(format!("-isystem{}", include.join("sieve").display()));
        build
    }

    fn compiler(include: &Path, era: u32) -> cc::Build {
        let mut build = base_compiler(include);
        build.include("c-shim").include("dovecot-headers");
        build.define("PEROT_DOVECOT_ERA", era.to_string().as_str());
        build.std("gnu11").pic(true).warnings(true).extra_warnings(true).warnings_into_errors(true);
        build.flag("-fvisibility=hidden").flag("-Wmissing-prototypes").flag("-fstack-protector-strong");
        build
    }

    /// The module by which `doveconf` of Dovecot 2.4 knows the settings, put beside the plugin.
    fn settings_module(include: &Path, out: &Path) -> Result<()> {
        let name = "libsieve_perot_encrypt_settings.so";
        let mut compiler = compiler(include, 24);
        compiler.define("PEROT_SETTINGS_MODULE", None);
        let mut command = compiler.get_compiler().to_command();
        command.args(["-shared", "-fvisibility=default", "-Wl,-z,relro,-z,now", "-o"]).arg(out.join(name));
        command.arg(Path::new("c-shim").join(SETTINGS));
        let status = command.status().map_err(|e| e.to_string())?;
        if !status.success() {
            return Err("the settings module does not compile".into());
        }
        let beside_plugin = out.ancestors().nth(3).ok_or("OUT_DIR is not below a target folder")?;
        std::fs::copy(out.join(name), beside_plugin.join(name)).map_err(|e| e.to_string())?;
        Ok(())
    }
}
